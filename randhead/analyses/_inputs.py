"""Checks of the input of an analysis, and a few shared functions."""

import math

import torch
from torch import Tensor

from randhead.errors import DataError, UsageError

OTHER_CLASSES = "do the features, the labels and the class vectors belong to one run and one dataset?"
NOTHING = 1e-12  # relative to the other norms: a vector below this is only rounding error and has no direction


def check_samples(features: Tensor, labels: Tensor, num_classes: int) -> None:
    """Raise if features (N, D) and labels (N,) do not fit together, or for labels beyond `num_classes`."""
    if features.ndim != 2 or labels.ndim != 1 or len(features) != len(labels):
        shapes = f"{tuple(features.shape)} and {tuple(labels.shape)}"
        raise UsageError(f"features and labels must be (N, D) and (N,), got {shapes}")
    if labels.is_floating_point():
        raise UsageError(f"labels must be class indices, got {labels.dtype}")
    if not len(labels):
        raise DataError("there are no samples to analyze")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise DataError(f"labels must be in 0..{num_classes - 1}, got {low}..{high}", hint=OTHER_CLASSES)


def check_finite(features: Tensor) -> None:
    """Raise DataError if features are NaN or infinite, and say of how many samples."""
    bad = int((~features.isfinite().all(dim=1)).sum())
    if bad:
        raise DataError(f"{bad} of {len(features)} features contain NaN or infinity", hint="did the run diverge?")


def check_vectors(class_vectors: Tensor, num_classes: int, dim: int) -> None:
    """Raise if class vectors are not finite numbers of shape (num_classes, dim)."""
    if tuple(class_vectors.shape) != (num_classes, dim):
        expected, found = (num_classes, dim), tuple(class_vectors.shape)
        raise UsageError(f"class vectors must be {expected} to fit the features, got {found}", hint=OTHER_CLASSES)
    if not class_vectors.isfinite().all():
        raise DataError("the class vectors contain NaN or infinity", hint="did the run diverge?")


def unit(rows: Tensor) -> Tensor:
    """Rows of length 1, float64: (M, D) -> (M, D).  Rows of zeros stay zeros, so that their cosines are 0."""
    rows = rows.double()
    lengths = rows.norm(dim=1, keepdim=True)
    return rows / lengths.where(lengths > 0, torch.ones_like(lengths))


def centred(rows: Tensor) -> Tensor:
    """Rows minus their mean, float64; a row that differs from the mean only by rounding becomes exactly zero."""
    rows = rows.double()
    moved = rows - rows.mean(dim=0)
    rounding = moved.norm(dim=1, keepdim=True) <= NOTHING * rows.norm(dim=1).max()
    return moved.masked_fill(rounding, 0)


def number(value: Tensor | float) -> float | None:
    """A float for JSON: None in place of NaN and infinity."""
    value = float(value)
    return value if math.isfinite(value) else None


def degrees(cosines: Tensor) -> Tensor:
    """Angles in degrees of cosines, which rounding may have pushed past 1."""
    return cosines.clamp(-1, 1).acos().rad2deg()


def left_out(counts: Tensor) -> tuple[str, ...]:
    """The note about classes without a sample, if there are any; counts (K,)."""
    empty = (counts == 0).nonzero().flatten().tolist()
    if not empty:
        return ()
    shown = ", ".join(map(str, empty[:10])) + (", ..." if len(empty) > 10 else "")
    return (f"{len(empty)} of {len(counts)} classes have no sample and are left out: {shown}",)
