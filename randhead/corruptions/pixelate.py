"""Pixelate: shrink with a box filter and enlarge again, in bytes, as Pillow does it.

Hendrycks and Dietterich, ICLR 2019.

A box filter gives equal weights to the pixels whose centres it covers, so each pass is a rounded mean of 1 to 5 bytes;
when enlarging, it covers exactly one.  Rows and columns are separate passes with bytes in between.
"""

import numpy as np
import torch
from torch import Tensor

from randhead import ambient
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
    resize = resized_by_numpy if images.device.type == "cpu" else resized
    images = resize(resize(images, small_width, dim=3), small_height, dim=2)
    return resize(resize(images, width, dim=3), height, dim=2)


def resized(images: Tensor, size: int, *, dim: int) -> Tensor:
    """Images (B, C, H, W) uint8 -> the same with `size` means of boxes along a dimension."""
    first, count, least, most = _boxes(images.shape[dim], size, images.device)
    if most == 1:
        return images.index_select(dim, first)
    count = count if dim == 3 else count[:, None]
    total = images.index_select(dim, first).to(torch.int16)
    for i in range(1, most):
        part = images.index_select(dim, (first + i).clamp_max_(images.shape[dim] - 1))
        total.add_(part.mul_((count > i).view(torch.uint8)) if i >= least else part)
    # A quotient is exactly a tie, or at least 1/10 away from one: float32 rounds as Pillow's integers do.
    return truncated((total.to(torch.float32) / count).add_(0.5))


def resized_by_numpy(images: Tensor, size: int, *, dim: int) -> Tensor:
    """The same on a CPU, in a third of the time: NumPy copies whole rows, so columns are transposed first."""
    first, count, least, most = _boxes(images.shape[dim], size, images.device)
    index, number, values = first.numpy(), count.numpy()[:, None], images.numpy()
    if most == 1:
        return torch.from_numpy(values.take(index, axis=dim, mode="clip"))
    rows = np.ascontiguousarray(values.swapaxes(2, 3)) if dim == 3 else values
    total = rows.take(index, axis=2, mode="clip").astype(np.int16)
    for i in range(1, most):
        part = rows.take(index + i, axis=2, mode="clip")
        total += part * (number > i).view(np.uint8) if i >= least else part
    means = total.astype(np.float32)
    means /= number.astype(np.float32)
    means += 0.5
    small = means.astype(np.uint8)
    return torch.from_numpy(np.ascontiguousarray(small.swapaxes(2, 3)) if dim == 3 else small)


@ambient.kept(maxsize=64)
def _boxes(old: int, new: int, device: torch.device) -> tuple[Tensor, Tensor, int, int]:
    """The first of the `old` pixels under the box of each of `new` pixels, and their number; its least and its most."""
    scale = old / new
    support = 0.5 * max(scale, 1.0)
    starts, counts = [], []
    for i in range(new):
        centre = (i + 0.5) * scale
        low, high = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), old)
        covered = [j for j in range(low, high) if -0.5 < (j - centre + 0.5) / max(scale, 1.0) <= 0.5]
        starts.append(covered[0])
        counts.append(len(covered))
    first = torch.tensor(starts, dtype=torch.int64, device=device)
    return first, torch.tensor(counts, dtype=torch.int16, device=device), min(counts), max(counts)
