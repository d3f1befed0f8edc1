"""Checks of the input of an analysis, and a few shared functions."""

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from randhead.arguments import check_type, shown, whole
from randhead.arrays import as_classes, as_numbers
from randhead.errors import DataError, StopRequested, UsageError
from randhead.tables import few

OTHER_CLASSES = "do the features, the labels and the class vectors belong to one run and one dataset?"
OF_FEATURES = "`class_statistics(features, labels, num_classes=K)`"
EQUAL = "all features are equal (a dead encoder, or equal images): what is measured of them has no value"
NOTHING = 1e-12  # relative to the other norms: a vector below this is only rounding error and has no direction


def as_similarity(name: str, values: Any) -> Tensor:
    """A square matrix of finite numbers, (K, K) with K >= 2.  Raises UsageError or DataError for anything else."""
    found = as_numbers(name, values)
    if found.ndim != 2 or found.shape[0] != found.shape[1] or len(found) < 2:
        hint = "one row and one column per class, of two classes or more"
        raise UsageError(f"{name} must be (K, K), got {tuple(found.shape)}", hint=hint)
    if not found.isfinite().all():
        raise DataError(f"{name} contains NaN or infinity", hint="leave out classes without samples")
    return found


def as_mapping(name: str, values: Any) -> dict[str, Any]:
    """An argument as a dictionary with names.  Raises UsageError for anything else."""
    check_type(name, values, Mapping, "a dictionary", hint=f'for example `{name}={{"accuracy": ...}}`')
    return dict(values)


def finite(name: str, value: Any, low: float = -math.inf) -> float:
    """A finite number above `low`.  Raises UsageError for anything else."""
    given = math.nan if isinstance(value, bool) or not isinstance(value, numbers.Real) else float(value)
    if not (math.isfinite(given) and given > low):
        rule = "a finite number" if low == -math.inf else f"a finite number above {low:g}"
        raise UsageError(f"{name} must be {rule}, got {shown(value)}", hint=f"for example `{name}=1.0`")
    return given


def checked_samples(features: Any, labels: Any, num_classes: int) -> tuple[Tensor, Tensor]:
    """Features (N, D) and labels (N,), int64 on their device.

    Raises UsageError if they do not fit together, DataError without samples and for labels beyond `num_classes`.
    """
    features = as_numbers("features", features)
    labels = as_classes("labels", labels, device=features.device)
    if features.ndim != 2 or labels.ndim != 1 or len(features) != len(labels):
        shapes = f"{tuple(features.shape)} and {tuple(labels.shape)}"
        hint = "one row of features and one label per sample"
        raise UsageError(f"features and labels must be (N, D) and (N,), got {shapes}", hint=hint)
    if not len(labels):
        raise DataError("there are no samples to analyze")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise DataError(f"labels must be in 0..{num_classes - 1}, got {low}..{high}", hint=OTHER_CLASSES)
    return features, labels


def checked_classes(
    features: Any, labels: Any, num_classes: int | None, class_vectors: Any = None
) -> tuple[Tensor, Tensor, int, Tensor | None]:
    """What analyses of one run take: features (N, D), labels (N,), K, and class vectors (K, D) or None.

    Without `num_classes`, K is the number of class vectors, or one more than the largest label.
    """
    labels = as_classes("labels", labels)
    vectors = None if class_vectors is None else as_numbers("class_vectors", class_vectors)
    if num_classes is None:
        largest = int(labels.max()) if labels.numel() else 0
        num_classes = len(vectors) if vectors is not None and vectors.ndim else max(largest, 0) + 1
    num_classes = whole("num_classes", num_classes, low=1)
    features, labels = checked_samples(features, labels, num_classes)
    if vectors is not None:
        vectors = checked_vectors(vectors.to(features.device), num_classes, features.shape[1])
    return features, labels, num_classes, vectors


def check_finite(features: Tensor) -> None:
    """Raise DataError if features are NaN or infinite, and say of how many samples."""
    bad = int((~features.isfinite().all(dim=1)).sum())
    if bad:
        raise DataError(f"{bad} of {len(features)} features contain NaN or infinity", hint="did the run diverge?")


def all_equal(features: Tensor) -> bool:
    """Whether all features (N, D) are the same."""
    return bool((features == features[0]).all())


def checked_vectors(class_vectors: Any, num_classes: int, dim: int) -> Tensor:
    """Class vectors, finite numbers of shape (num_classes, dim).  Raises an error for others."""
    found = as_numbers("class_vectors", class_vectors)
    if tuple(found.shape) != (num_classes, dim):
        expected = (num_classes, dim)
        message = f"class vectors must be {expected} to fit the features, got {tuple(found.shape)}"
        raise UsageError(message, hint=OTHER_CLASSES)
    if not found.isfinite().all():
        raise DataError("the class vectors contain NaN or infinity", hint="did the run diverge?")
    return found


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


def steps_of(
    total: int, should_stop: Callable[[], bool], progress: Callable[[int, int], None] | None
) -> Callable[[int], None]:
    """A function that is called with the number of steps that come next, until all are done.

    It raises StopRequested if `should_stop` returns True, and calls `progress` with (done, total).
    """
    done = 0

    def advanced(count: int) -> None:
        nonlocal done
        if should_stop():
            raise StopRequested("stopped within an analysis")
        if progress is not None:
            progress(done, total)
        done += count

    return advanced


def left_out(counts: Tensor) -> tuple[str, ...]:
    """The note about classes without a sample, if there are any; counts (K,)."""
    empty = (counts == 0).nonzero().flatten().tolist()
    if not empty:
        return ()
    return (f"{len(empty)} of {len(counts)} classes have no sample and are left out: {few(empty, 10)}",)
