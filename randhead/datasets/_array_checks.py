"""Checks of the arrays of which a dataset is built."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from randhead.ambient import as_tensor
from randhead.arguments import check_type, several, shown
from randhead.arrays import is_integer
from randhead.config import SPLITS
from randhead.datasets._options import Options
from randhead.errors import DataError, UsageError

PIXELS = "pixels are uint8 (N, 3, H, H): channels first, three of them, square"


def checked_arrays(
    class_names: Any, pixels: Any, labels: Any, rows: Any
) -> tuple[tuple[str, ...], Tensor, Tensor, dict[str, Tensor]]:
    """The arguments of `from_arrays` as tensors: class names, pixels, labels (N,) int64 and rows (M,) int64 by split.

    Raises:
        UsageError: for arguments of other types.
        DataError: for arrays that do not fit, labels and rows out of range, and images in several splits.
    """
    names = several("class_names", class_names, "a list of names", kinds=str)
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError(f"class_names must be two or more different names, got {shown(names)}")
    images, numbers = _tensor("pixels", pixels), _tensor("labels", labels)
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise DataError(f"pixels must be uint8 (N, 3, H, H), got {_described(images)}", hint=_hint(images))
    numbers = _whole("labels", numbers, len(images), f"one per image, ({len(images)},)")
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(names):
        found = f"{int(numbers.min())} to {int(numbers.max())}"
        hint = "labels are indices of class_names, from 0 on"
        raise DataError(f"labels of {len(names)} classes must be 0 to {len(names) - 1}, got {found}", hint=hint)
    return names, images, numbers, _rows(rows, len(images))


def check_build(name: object, options: object, test_share: object) -> None:
    """Raise UsageError for a name, options or a share of test images that cannot be used."""
    check_type("name", name, str, "text")
    check_type("options", options, Options, "`randhead.datasets.Options`")
    number = isinstance(test_share, int | float) and not isinstance(test_share, bool)
    if not number or not 0 <= test_share < 1:  # type: ignore[operator]
        raise UsageError(f"test_share must be a number from 0 to below 1, got {shown(test_share)}")


def _rows(rows: Any, count: int) -> dict[str, Tensor]:
    check_type("rows", rows, Mapping, "a dictionary of the indices of each split")
    if not rows or not set(rows) <= set(SPLITS):
        raise UsageError(f"rows must have splits among {', '.join(SPLITS)}, got {[*rows]}", hint='rows={"train": ...}')
    found = {split: _whole(f"rows of {split}", _tensor("rows", given), None, "(M,)") for split, given in rows.items()}
    for split, given in found.items():
        if len(given) and not 0 <= int(given.min()) <= int(given.max()) < count:
            hint = "rows are indices of the images"
            raise DataError(f"rows of {split} must be 0 to {count - 1}, got {given.min()} to {given.max()}", hint=hint)
    used = torch.cat([*found.values()]).cpu()
    repeated = len(used) - len(used.unique())
    if repeated:
        hint = "give every image to one split, once"
        raise DataError(f"rows have {repeated} images twice, in one split or in two", hint=hint)
    return found


def _tensor(name: str, given: Any) -> Tensor:
    try:
        found = as_tensor(given)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise UsageError(f"{name} must be a tensor or an array, got {shown(given)}") from None
    if found.is_meta or found.layout != torch.strided or found.is_quantized:
        kind = "on the device meta, without values" if found.is_meta else f"of layout {found.layout} and {found.dtype}"
        raise UsageError(f"{name} must be a tensor that has all its values, got one {kind}", hint="give a dense tensor")
    return found


def _whole(name: str, values: Tensor, count: int | None, shape: str) -> Tensor:
    """Whole numbers (N,) as int64."""
    if values.ndim != 1 or (count is not None and len(values) != count) or (len(values) and not is_integer(values)):
        raise DataError(f"{name} must be whole numbers, {shape}, got {_described(values)}")
    return values.to(torch.int64)


def _described(values: Tensor) -> str:
    return f"{str(values.dtype).removeprefix('torch.')} of shape {tuple(values.shape)}"


def _hint(images: Tensor) -> str:
    if images.ndim == 4 and images.is_floating_point():
        return "`(pixels * 255).round().to(torch.uint8)` for values in 0..1"
    if images.ndim == 4 and images.shape[3] == 3:
        return "`pixels.permute(0, 3, 1, 2)` puts channels first"
    if images.ndim == 4 and images.shape[1] == 1:
        return "`pixels.expand(-1, 3, -1, -1)` makes grey images RGB"
    return PIXELS
