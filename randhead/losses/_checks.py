"""Checks of a batch before its loss is computed."""

import torch
from torch import Tensor

from randhead.errors import DivergedError, UsageError


def check_batch(features: Tensor, labels: Tensor, num_classes: int) -> None:
    """Raise UsageError for labels that do not fit, DivergedError for features that are not finite.

    Args:
        features: (B, D).
        labels: (B,).
        num_classes: K.
    """
    if labels.shape != features.shape[:1] or labels.dtype != torch.int64:
        raise UsageError(
            f"labels must be an int64 tensor of shape ({len(features)},), got {labels.dtype} of shape "
            f"{tuple(labels.shape)}"
        )
    outside = (labels < 0) | (labels >= num_classes)
    # If the sum is finite, so are its terms: a tenth of the time of checking each.
    if not (outside.any() | ~features.sum(dtype=torch.float32).isfinite()):  # one synchronisation with the device
        return
    infinite = ~features.isfinite().all(dim=1)
    if infinite.any():
        raise DivergedError(
            f"the features of {int(infinite.sum())} of {len(features)} samples are not finite",
            hint="lower the learning rate or the scale, and check the inputs",
        )
    if outside.any():
        raise UsageError(f"labels must be in 0..{num_classes - 1}, got {int(labels.min())}..{int(labels.max())}")


def check_exact_classes(classes: Tensor, num_classes: int, normaliser: str) -> None:
    """Raise UsageError for repeated or unknown classes, or if the softmax method is exact anyway.

    Args:
        classes: the classes that the expected softmax is to sum one by one (N,) int64.
        num_classes: K.
        normaliser: name of the softmax method.
    """
    if normaliser != "expected":
        raise UsageError(f'`exact_classes` needs `normaliser="expected"`, this head uses {normaliser}')
    if classes.ndim != 1 or classes.dtype != torch.int64 or len(classes.unique()) != len(classes):
        hint = "`labels.unique()` gives the classes of the batch"
        raise UsageError("exact_classes must be different classes, (N,) int64", hint=hint)
    if len(classes) and (int(classes.min()) < 0 or int(classes.max()) >= num_classes):
        raise UsageError(f"exact_classes must be in 0..{num_classes - 1}")
