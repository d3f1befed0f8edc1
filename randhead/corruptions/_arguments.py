"""Checks of the images that are corrupted, and of their ids."""

from collections.abc import Iterable

import torch
from torch import Tensor

from randhead.ambient import as_tensor
from randhead.arguments import shown
from randhead.errors import UsageError

SMALLEST_SIDE = 8


def check_images(images: Tensor) -> None:
    """Raise UsageError unless images are uint8 (B, 1 or 3, H, W), of at least SMALLEST_SIDE pixels per side."""
    hint = "corruptions take uint8 images (B, 3, H, W) in 0..255, after resizing and before normalisation"
    if not isinstance(images, Tensor):
        raise UsageError(f"images must be a tensor, got {type(images).__name__}", hint=hint)
    if images.dtype != torch.uint8:
        raise UsageError(f"images must be uint8, got {str(images.dtype).removeprefix('torch.')}", hint=hint)
    if images.ndim != 4:
        raise UsageError(f"images must have 4 dimensions, got shape {tuple(images.shape)}", hint=hint)
    if images.shape[1] not in (1, 3):
        more = "drop the alpha channel" if images.shape[1] == 4 else hint
        raise UsageError(f"images must have 1 or 3 channels, got {images.shape[1]}", hint=more)
    if min(images.shape[2:]) < SMALLEST_SIDE:
        height, width = images.shape[2:]
        raise UsageError(f"images of {height}x{width} are too small", hint=f"sides start at {SMALLEST_SIDE} pixels")


def checked_ids(ids: Tensor | Iterable[int] | None, images: Tensor) -> Tensor:
    """The ids of images: (B,) int64, on their device; 0..B-1 by default."""
    if ids is None:
        return torch.arange(len(images), dtype=torch.int64, device=images.device)
    rule = f"ids must be {len(images)} integers, one per image"
    try:
        ids = as_tensor(ids if isinstance(ids, Tensor) else list(ids))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise UsageError(f"{rule}, got {shown(ids)}") from None
    if ids.shape != (len(images),) or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise UsageError(f"{rule}, got {ids.dtype} of shape {tuple(ids.shape)}")
    if len(ids) and int(ids.min()) < 0:
        raise UsageError(f"ids must not be negative, got {int(ids.min())}")
    return ids.to(torch.int64).to(images.device)
