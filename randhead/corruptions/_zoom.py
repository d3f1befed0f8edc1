"""Zooms into the centre, as scipy.ndimage.zoom of order 1 does on a centred crop: bilinear, corners aligned."""

import functools
import math

import torch
from torch import Tensor


def clipped_zoom(images: Tensor, factor: float) -> Tensor:
    """The centre of (B, C, H, W) float, enlarged by `factor` >= 1 and trimmed to H, W."""
    for dim in (2, 3):
        low, high, share = _places(images.shape[dim], factor, images.device)
        share = share if dim == 3 else share[:, None]
        start = images.index_select(dim, low)
        # start + share (end - start) keeps flat regions to the last bit.
        images = images.index_select(dim, high).sub_(start).mul_(share).add_(start)
    return images


@functools.lru_cache(maxsize=256)
def _places(size: int, factor: float, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each output pixel the two input pixels around it, and how far it is on the way from the first to the second."""
    crop = math.ceil(size / factor)
    top = (size - crop) // 2
    zoomed = round(crop * factor)
    trim = (zoomed - size) // 2
    step = (crop - 1) / (zoomed - 1)
    place = torch.arange(trim, trim + size, dtype=torch.float64) * step
    low = place.floor().clamp_max(crop - 1)
    high = (low + 1).clamp_max(crop - 1)
    share = (place - low).to(torch.float32)
    return (low.long() + top).to(device), (high.long() + top).to(device), share.to(device)
