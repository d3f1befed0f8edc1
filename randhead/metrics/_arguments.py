"""Checks of the arguments of metrics: an error names the argument, what it must be, and what was given."""

from typing import Any

import torch
from torch import Tensor

from randhead.ambient import as_tensor
from randhead.arguments import shown, whole
from randhead.errors import DataError, UsageError

ARRAYS = "give a tensor, an array of NumPy or a list of numbers"


def numbers(name: str, values: Any, *, ndim: int = 1) -> Tensor:
    """Real numbers of so many dimensions, float64, without NaN."""
    found = _tensor(name, values)
    if found.dtype == torch.bool:
        raise UsageError(f"{name} must be real numbers, got bool", hint=ARRAYS)
    if found.ndim != ndim:
        raise UsageError(f"{name} must have {ndim} dimensions, got shape {tuple(found.shape)}", hint=ARRAYS)
    if found.is_floating_point() and found.isnan().any():
        raise DataError(f"{name} contain NaN", hint="did the run diverge?")
    return found.double()


def classes(name: str, values: Any, num_classes: int | None = None, *, ndims: tuple[int, ...] = (1,)) -> Tensor:
    """Class indices (N,) int64, from 0, below `num_classes` if it is given."""
    found = _tensor(name, values)
    if found.is_floating_point() or found.dtype == torch.bool or found.ndim not in ndims:
        dtype = str(found.dtype).removeprefix("torch.")
        raise UsageError(
            f"{name} must be class indices of shape (N,), got {dtype} {tuple(found.shape)}",
            hint=f"`{name}.to(torch.int64)` if they are whole numbers",
        )
    found = found.to(torch.int64)
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
    found = _tensor(name, values)
    same_length(name, n, found)
    if found.dtype != torch.bool and not ((found == 0) | (found == 1)).all():
        raise UsageError(f"{name} must be True or False per sample, got other numbers", hint="`predictions == labels`")
    return found.bool()


def same_length(name: str, n: int, values: Tensor) -> None:
    """Raise UsageError unless there is one value for each of n samples, DataError if there is no sample."""
    if values.ndim != 1 or len(values) != n:
        message = f"{name}: expected one value per sample, shape ({n},), got {tuple(values.shape)}"
        raise UsageError(message, hint="give results of the same samples, in the same order")
    if n == 0:
        raise DataError("there are no samples to measure", hint="give at least one")


def _tensor(name: str, values: Any) -> Tensor:
    try:
        found = as_tensor(values)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise UsageError(f"{name} must be numbers, got {shown(values)}", hint=ARRAYS) from None
    if found.is_complex() or found.is_meta or found.layout != torch.strided:
        what = "complex" if found.is_complex() else "on the meta device" if found.is_meta else "not dense"
        raise UsageError(f"{name} must be real numbers, got a tensor that is {what}", hint=ARRAYS)
    return found.detach()
