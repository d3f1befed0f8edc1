"""Pixelate: shrink with a box filter and enlarge again, in bytes, as Pillow does it.

Hendrycks and Dietterich, ICLR 2019.

A box filter gives equal weights to the pixels whose centres it covers, so each pass is a rounded mean of 1 to 5 bytes;
when enlarging, it covers exactly one.  Rows and columns are separate passes with bytes in between.
"""

import numpy as np
import torch
from PIL import Image
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
    narrow = narrowed_by_pillow if images.device.type == "cpu" else narrowed
    images = _resized(narrow(images, small_width), small_height, dim=2)
    return _resized(_resized(images, width, dim=3), height, dim=2)


def narrowed(images: Tensor, width: int) -> Tensor:
    """Images (B, C, H, W) uint8 -> (B, C, H, width), the means of boxes along rows."""
    return _resized(images, width, dim=3)


def narrowed_by_pillow(images: Tensor, width: int) -> Tensor:
    """The same on a CPU, in half the time: Pillow takes all rows as one image."""
    rows = images.flatten(0, 2)
    small = Image.fromarray(rows.numpy()).resize((width, len(rows)), Image.Resampling.BOX)
    return torch.from_numpy(np.array(small)).view(*images.shape[:3], width)


def _resized(images: Tensor, size: int, *, dim: int) -> Tensor:
    first, count, least, most = _boxes(images.shape[dim], size, images.device)
    if most == 1:
        return _taken(images, first, dim)
    count = count if dim == 3 else count[:, None]
    total = _taken(images, first, dim).to(torch.int16)
    for i in range(1, most):
        part = _taken(images, (first + i).clamp_max_(images.shape[dim] - 1), dim)
        total.add_(part.mul_((count > i).view(torch.uint8)) if i >= least else part)
    # A quotient is exactly a tie, or at least 1/10 away from one: float32 rounds as Pillow's integers do.
    return truncated((total.to(torch.float32) / count).add_(0.5))


def _taken(images: Tensor, index: Tensor, dim: int) -> Tensor:
    """`index_select`; on a CPU by NumPy, which takes half the time for columns of bytes."""
    if images.device.type != "cpu":
        return images.index_select(dim, index)
    return torch.from_numpy(images.numpy().take(index.numpy(), axis=dim, mode="clip"))


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
