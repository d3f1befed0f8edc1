"""Checks of the arguments of corruptions, with hints on how to make what they take."""

from collections.abc import Iterable
from types import NoneType
from typing import Any

import torch
from torch import Tensor

from randhead.ambient import as_tensor
from randhead.arguments import check_type, is_whole, several, shown, whole
from randhead.arrays import is_integer
from randhead.corruptions.frost import FrostImages
from randhead.errors import UsageError, unknown

SMALLEST_SIDE = 8
PARAMETER_SETS: dict[str, int | None] = {"32": 45, "64": 120, "224": None}  # each up to which shorter side of an image
TAKEN = "corruptions take uint8 images (B, 3, H, W) in 0..255, after resizing and before normalisation"


def check_images(images: object) -> None:
    """Raise UsageError unless images are uint8 (B, 1 or 3, H, W), of at least SMALLEST_SIDE pixels per side."""
    if not isinstance(images, Tensor):
        hint = "`corrupt` takes images of PIL and NumPy, `randhead.corruptions.Corrupt` also in lists of transforms"
        raise UsageError(f"images must be a tensor, got {type(images).__name__}", hint=hint)
    if images.layout != torch.strided:
        raise UsageError(f"images must be dense, got {images.layout}", hint="`images.to_dense()`")
    check_bytes("images", images.dtype, "(images * 255).round().to(torch.uint8)")
    if images.ndim != 4:
        hint = TAKEN
        if images.ndim == 3:
            batch = "images.permute(2, 0, 1)[None]" if images.shape[2] in (1, 3) else "images[None]"
            hint = f"`{batch}` is a batch of one; `randhead.corruptions.Corrupt` takes single images"
        raise UsageError(f"images must have 4 dimensions, got shape {tuple(images.shape)}", hint=hint)
    if images.shape[1] not in (1, 3):
        hint = "`images[:, :3]` leaves out the alpha channel" if images.shape[1] == 4 else TAKEN
        hint = "`images.permute(0, 3, 1, 2)` puts channels first" if images.shape[3] in (1, 3) else hint
        raise UsageError(f"images must have 1 or 3 channels, got {images.shape[1]}", hint=hint)
    if min(images.shape[2:]) < SMALLEST_SIDE:
        height, width = images.shape[2:]
        raise UsageError(f"images of {height}x{width} are too small", hint=f"sides start at {SMALLEST_SIDE} pixels")


def shorter_side(size: Any) -> int:
    """The smaller number of an image size (H, W).  Raises UsageError for anything else."""
    sides = several("size", size, "the height and width of an image")
    if len(sides) != 2:
        raise UsageError(f"size must be the height and width of an image, got {shown(size)}")
    return min(whole("size", side, 1) for side in sides)


def check_bytes(name: str, dtype: object, conversion: str) -> None:
    """Raise UsageError unless the dtype of images, in torch or NumPy, is uint8."""
    given = str(dtype).removeprefix("torch.")
    if given != "uint8":
        hint = f"`{conversion}` for values in 0..1, before normalisation" if "float" in given else TAKEN
        raise UsageError(f"{name} must be uint8, got {given}", hint=hint)


def checked_ids(ids: Tensor | Iterable[int] | None, images: Tensor) -> Tensor:
    """The ids of images: (B,) int64, on their device; 0..B-1 by default."""
    if ids is None:
        return torch.arange(len(images), dtype=torch.int64, device=images.device)
    rule, hint = (
        f"ids must be {len(images)} integers, one per image",
        "for example the indices of the images in their set",
    )
    try:
        ids = as_tensor(ids if isinstance(ids, Tensor) else list(ids))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise UsageError(f"{rule}, got {shown(ids)}", hint=hint) from None
    empty = ids.numel() == 0 == len(images)  # an empty list has no type
    if ids.shape != (len(images),) or not (empty or is_integer(ids)):
        got = f"{str(ids.dtype).removeprefix('torch.')} of shape {tuple(ids.shape)}"
        raise UsageError(f"{rule}, got {got}", hint=hint)
    if len(ids) and int(ids.min()) < 0:
        raise UsageError(f"ids must not be negative, got {int(ids.min())}", hint=hint)
    return ids.to(torch.int64).to(images.device)


def check_severity(severity: Any) -> None:
    """Raise UsageError unless a severity is 0 to 5."""
    if not is_whole(severity) or severity not in range(6):
        raise UsageError(f"severity must be 0 to 5, got {shown(severity)}", hint="0: no corruption, 5: the strongest")


def checked_severities(severities: Any) -> tuple[int, ...]:
    """Severities, each from 0 to 5."""
    given = several("severities", severities, "numbers from 0 to 5")
    for severity in given:
        check_severity(severity)
    return given


def check_parameters(parameters: str | None) -> None:
    """Raise UsageError unless `parameters` is the name of a published parameter set, or None."""
    if parameters is None:
        return
    hint = "leave it out to choose by the size of the images"
    check_type("parameters", parameters, str, f"None or one of {[*PARAMETER_SETS]}", hint=hint)
    if parameters not in PARAMETER_SETS:
        raise unknown("parameter set", parameters, PARAMETER_SETS)


def check_frost_images(frost_images: object) -> None:
    """Raise UsageError unless pictures of frost come from `load_frost_images`; None for the procedural ones."""
    rule, hint = "the result of `load_frost_images`", "`randhead.corruptions.load_frost_images(FOLDER)` reads a folder"
    check_type("frost_images", frost_images, (FrostImages, NoneType), rule, hint=hint)
