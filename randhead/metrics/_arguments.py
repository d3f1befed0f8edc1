"""Checks of the arguments of metrics: arrays with one value per sample, and at least one sample."""

from typing import Any

from torch import Tensor

from randhead.arguments import whole
from randhead.arrays import ARRAYS, as_classes, as_flags, as_numbers
from randhead.errors import DataError, UsageError


def numbers(name: str, values: Any, *, ndim: int = 1) -> Tensor:
    """Real numbers of so many dimensions, float64, without NaN."""
    found = as_numbers(name, values)
    if found.ndim != ndim:
        raise UsageError(f"{name} must have {ndim} dimensions, got shape {tuple(found.shape)}", hint=ARRAYS)
    if found.is_floating_point() and found.isnan().any():
        raise DataError(f"{name} contain NaN", hint="did the run diverge?")
    return found.double()


def classes(name: str, values: Any, num_classes: int | None = None, *, ndims: tuple[int, ...] = (1,)) -> Tensor:
    """Class indices (N,) int64, from 0, below `num_classes` if it is given."""
    found = as_classes(name, values)
    if found.ndim not in ndims:
        raise UsageError(f"{name} must be class indices of shape (N,), got {tuple(found.shape)}", hint=ARRAYS)
    if num_classes is not None:
        last = whole("num_classes", num_classes, low=1) - 1
        if found.numel() and (int(found.min()) < 0 or int(found.max()) > last):
            raise DataError(
                f"{name} must be in 0..{last}, got {int(found.min())}..{int(found.max())}",
                hint="is this a dataset with other classes than the run was trained on?",
            )
    return found


def flags(name: str, values: Any, n: int) -> Tensor:
    """Whether each of n samples is something, bool (N,), from truth values or from 0 and 1."""
    found = as_flags(name, values, n)
    same_length(name, n, found)
    return found


def same_length(name: str, n: int, values: Tensor) -> None:
    """Raise UsageError unless there is one value for each of n samples, DataError if there is no sample."""
    if values.ndim != 1 or len(values) != n:
        message = f"{name}: expected one value per sample, shape ({n},), got {tuple(values.shape)}"
        raise UsageError(message, hint="give results of the same samples, in the same order")
    if n == 0:
        raise DataError("there are no samples to measure", hint="give at least one")
