"""Checks of arguments that are arrays: an error names the argument, what it must be, and what was given."""

from typing import Any

import torch
from torch import Tensor

from randhead.ambient import as_tensor
from randhead.arguments import shown
from randhead.errors import DataError, UsageError

ARRAYS = "give a tensor, an array of NumPy or a list of numbers"
NAMES = "`np.unique(names, return_inverse=True)[1]`"
FLAGS = "`predictions == labels`"
SMALLEST, LARGEST = 1e-60, 1e60  # of the largest entry of a row, whose fourth power is a number of float64


def as_numbers(name: str, values: Any, *, device: torch.device | None = None, hint: str = ARRAYS) -> Tensor:
    """An argument as a tensor of real numbers: from a tensor, an array of NumPy or a list; without its gradient.

    Raises UsageError, with the name of the argument, for anything else, and DataError for rows (N, D) that are so large
    or so small that float64 has no numbers for their squares.
    """
    found = _dense(name, values, "numbers", hint)
    if found.is_complex() or found.dtype == torch.bool:
        raise UsageError(f"{name} must be real numbers, got {_dtype(found)}", hint=hint)
    if found.ndim == 2 and found.numel() and found.dtype == torch.float64:  # others have a smaller range
        _check_range(name, found)
    return found.to(device or found.device)


def as_classes(name: str, values: Any, *, device: torch.device | None = None) -> Tensor:
    """An argument as int64, from whole numbers of any type.  Raises UsageError for anything else."""
    found = as_numbers(name, values, device=device, hint=f"{ARRAYS}; {NAMES} makes them of names")
    if found.is_floating_point() and found.numel():
        hint = f"`{name}.to(torch.int64)` if they are whole numbers"
        raise UsageError(f"{name} must be class indices, got {_dtype(found)}", hint=hint)
    return found.to(torch.int64)


def as_flags(name: str, values: Any, count: int) -> Tensor:
    """Truth values (N,), or 0 and 1, as bool.  Raises UsageError for anything else."""
    found = _dense(name, values, "truth values", FLAGS)
    if tuple(found.shape) != (count,):
        message = f"{name} must be one truth value per sample, shape ({count},), got {tuple(found.shape)}"
        raise UsageError(message, hint=FLAGS)
    if found.is_complex() or not ((found == 0) | (found == 1)).all():
        raise UsageError(f"{name} must be True or False per sample, got other numbers", hint=FLAGS)
    return found.bool()


def is_integer(values: Tensor) -> bool:
    """Whether the dtype of a tensor is one of whole numbers; that of True and False is none."""
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def _dense(name: str, values: Any, what: str, hint: str) -> Tensor:
    """A tensor that holds its values, without its gradient.  Raises UsageError for anything else."""
    try:
        found = as_tensor(values)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise UsageError(f"{name} must be {what}, got {shown(values)}", hint=hint) from None
    if found.is_meta or found.layout != torch.strided:
        kind = "are on the meta device, which holds no numbers" if found.is_meta else f"are {found.layout}, not dense"
        raise UsageError(f"{name} {kind}", hint=ARRAYS)
    return found.detach()


def _check_range(name: str, rows: Tensor) -> None:
    """Raise DataError for rows (N, D) whose largest entry is out of range; those of zeros are in it."""
    largest = rows.abs().amax(dim=1)
    wrong = ((largest < SMALLEST) & (largest > 0)) | ((largest > LARGEST) & largest.isfinite())
    if len(bad := wrong.nonzero()):
        raise DataError(
            f"{len(bad)} of {len(rows)} rows of {name} have numbers around {largest[bad[0, 0]].item():.0e}, whose "
            "squares float64 cannot hold",
            hint=f"multiply {name} by a factor",
        )


def _dtype(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")
