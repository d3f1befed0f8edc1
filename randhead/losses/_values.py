"""Checks of the values of a batch: one synchronisation with the device, more only to name what is wrong or left out."""

from dataclasses import replace

import torch
from torch import Tensor

from randhead.errors import DivergedError, UsageError
from randhead.losses._batch import LossBatch


def check_values(batch: LossBatch, ignore_index: int) -> LossBatch:
    """The batch without the samples whose label is `ignore_index`.

    Args:
        batch: with arguments of the right types and shapes; labels can still be `ignore_index`.
        ignore_index: label of the samples that are left out.

    Raises:
        UsageError: for labels and weights out of their bounds, and for a mean over no sample.
        DivergedError: for features that are not finite.
    """
    if len(batch.labels) and _is_fine(batch, ignore_index):
        return batch
    _check_features(batch.features)
    if batch.soft is None:
        batch = _check_labels(batch, ignore_index)
    else:
        _check_bounds("soft labels", batch.soft)
    _check_bounds("weights", batch.weights)
    _check_bounds("class_weights", batch.class_weights)
    if batch.reduction == "mean":
        _check_divisor(batch)
    return batch


def nan_if_infinite(losses: Tensor, features: Tensor) -> Tensor:
    """The losses (B,), NaN for features (B, D) that are not finite: with few classes they could be finite.

    Example:
        >>> nan_if_infinite(torch.ones(2), torch.tensor([[1.0], [torch.inf]]))
        tensor([1., nan])
    """
    return losses.masked_fill(~features.detach().float().isfinite().all(dim=1), torch.nan)


def without(batch: LossBatch, ignored: Tensor) -> LossBatch:
    """The batch with weight 0, and some label that exists, for the ignored samples (B,) bool."""
    kept = (~ignored).float() if batch.weights is None else batch.weights.masked_fill(ignored, 0)
    return replace(batch, labels=batch.labels.masked_fill(ignored, 0), weights=kept)


def _is_fine(batch: LossBatch, ignore_index: int) -> bool:
    """Whether all values are within their bounds and no sample is left out."""
    # If the sum is finite, so are its terms: a tenth of the time of checking each.
    fine = batch.features.sum(dtype=torch.float32).isfinite()
    if batch.soft is None:
        inside = batch.labels == batch.labels.clamp(0, batch.num_classes - 1)
        if 0 <= ignore_index < batch.num_classes:
            inside = inside & (batch.labels != ignore_index)
        fine = fine & inside.all()
    for given in (batch.soft, batch.weights, batch.class_weights):
        fine = fine if given is None else fine & _within_bounds(given)
    if batch.reduction == "mean" and not (batch.weights is None and batch.class_weights is None):
        safe = replace(batch, labels=batch.labels.clamp(0, batch.num_classes - 1))
        fine = fine if safe.shares is None else fine & (safe.shares.sum() > 0)
    return bool(fine)  # one synchronisation with the device


def _within_bounds(given: Tensor) -> Tensor:
    low, high = given.detach().aminmax()
    return (low >= 0) & (high < torch.inf)


def _check_features(features: Tensor) -> None:
    infinite = ~features.float().isfinite().all(dim=1)  # the head computes in float32
    if infinite.any():
        raise DivergedError(
            f"the features of {int(infinite.sum())} of {len(features)} samples are not finite",
            hint="lower the learning rate or the scale, and check the inputs",
        )


def _check_labels(batch: LossBatch, ignore_index: int) -> LossBatch:
    ignored = batch.labels == ignore_index
    kept = batch.labels[~ignored]
    if len(kept) and (kept.min() < 0 or kept.max() >= batch.num_classes):
        raise UsageError(
            f"labels must be in 0..{batch.num_classes - 1}, got {int(kept.min())}..{int(kept.max())}",
            hint=f"samples without a class have the label {ignore_index}, which `ignore_index` can change",
        )
    return without(batch, ignored) if ignored.any() else batch


def _check_bounds(name: str, given: Tensor | None) -> None:
    if given is None or not given.numel() or _within_bounds(given):
        return
    wrong = given[~((given >= 0) & (given < torch.inf))]
    hint = "0 leaves a sample or class out"
    raise UsageError(f"{name} must be finite and not negative, got {wrong[0].item():g}", hint=hint)


def _check_divisor(batch: LossBatch) -> None:
    """Raise UsageError if no sample counts."""
    count, shares = len(batch.labels), batch.shares
    if count and (shares is None or shares.sum() > 0):
        return
    why = "the batch is empty" if not count else f"all {count} samples are ignored or have a weight of 0"
    raise UsageError(f"the mean loss of no sample: {why}", hint='skip such batches, or use `reduction="sum"`: 0')
