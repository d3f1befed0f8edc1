"""Pixelate: shrink with a box filter and enlarge again, in bytes, as Pillow does it.

Hendrycks and Dietterich, ICLR 2019.

A box filter gives equal weights to the pixels whose centres it covers, so each pass is a rounded mean of 1 to 5 bytes;
when enlarging, it covers exactly one.  Rows and columns are separate passes with bytes in between.
"""

import functools

import torch
from torch import Tensor

from randhead.corruptions._bytes import truncated

GROUP, ORDER = "digital", 14
SEVERITY_PARAMETERS = {  # the factor of the side
    "32": (0.95, 0.9, 0.85, 0.75, 0.65),
    "64": (0.9, 0.8, 0.7, 0.6, 0.5),
    "224": (0.6, 0.5, 0.4, 0.3, 0.25),
}


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Nothing: pixelation is not random."""
    return {}


def apply(images: Tensor, noise: dict[str, Tensor], factor: float) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, reduced to `factor` times the side and enlarged again."""
    height, width = images.shape[2:]
    small_height, small_width = int(height * factor), int(width * factor)
    images = _resized(_resized(images, small_width, dim=3), small_height, dim=2)
    return _resized(_resized(images, width, dim=3), height, dim=2)


def _resized(images: Tensor, size: int, *, dim: int) -> Tensor:
    starts, counts = _boxes(images.shape[dim], size)
    widest = max(counts)
    first = torch.tensor(starts, dtype=torch.int64, device=images.device)
    if widest == 1:
        return images.index_select(dim, first)
    count = torch.tensor(counts, dtype=torch.int16, device=images.device)
    count = count if dim == 3 else count[:, None]
    total = images.index_select(dim, first).to(torch.int16)
    for i in range(1, widest):
        part = images.index_select(dim, (first + i).clamp_max_(images.shape[dim] - 1))
        total.add_(part * (count > i))
    # A quotient is exactly a tie, or at least 1/10 away from one: float32 rounds as Pillow's integers do.
    return truncated((total.to(torch.float32) / count).add_(0.5))


@functools.lru_cache(maxsize=64)
def _boxes(old: int, new: int) -> tuple[list[int], list[int]]:
    """For each of `new` pixels, the first of the `old` pixels under its box and their number."""
    scale = old / new
    support = 0.5 * max(scale, 1.0)
    first, count = [], []
    for i in range(new):
        centre = (i + 0.5) * scale
        low, high = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), old)
        covered = [j for j in range(low, high) if -0.5 < (j - centre + 0.5) / max(scale, 1.0) <= 0.5]
        first.append(covered[0])
        count.append(len(covered))
    return first, count
