"""Defocus blur: the mean over a disk whose edge is softened by a small Gaussian.

Hendrycks and Dietterich, ICLR 2019.

The kernel of the reference is a disk of equal weights, filtered with 3 or 5 taps per side.  Here the image is first
filtered with the disk, exactly: the sum over a row of the disk is the difference of two running sums of integers.  Then
the result is filtered with the separable Gaussian.  If the disk touches the border of its grid (radius 8 and 10),
OpenCV's filter mirrors the disk there; the few weights that this changes are added one by one.
"""

import functools
import math

import numpy as np
import torch
from torch import Tensor

from randhead.corruptions._borders import padded
from randhead.corruptions._bytes import clipped

GROUP, ORDER = "blur", 4
# Radius and softening in pixels, and by how much the sum of the reference's float32 weights differs from 1: it decides
# whether a flat region keeps its grey level or loses one.
SEVERITY_PARAMETERS = {
    "32": ((0.3, 0.4, 1.4e-9), (0.4, 0.5, 1.9e-8), (0.5, 0.6, 4.5e-8), (1, 0.2, 1.8e-8), (1.5, 0.1, 7.5e-9)),
    "64": ((0.5, 0.6, 4.5e-8), (1, 0.1, 1.5e-8), (1.5, 0.1, 7.5e-9), (2.5, 0.01, 1.9e-8), (3, 0.1, -3.7e-9)),
    "224": ((3, 0.1, -3.7e-9), (4, 0.5, -3.4e-8), (6, 0.5, -6.4e-9), (8, 0.5, 0), (10, 0.5, 0)),
}


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Nothing: defocus blur is not random."""
    return {}


def apply(images: Tensor, noise: dict[str, Tensor], parameters: tuple[float, float, float]) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, out of focus by `parameters` (radius, softening, excess)."""
    radius, softening, excess = parameters
    side = softener(radius, softening)
    margin = int(radius) + len(side) - 1
    wide = padded(images, margin)
    rows = half_widths(radius)
    area = sum(2 * h + 1 for h in rows) * 2 - (2 * rows[0] + 1)
    soft = _softened(disk_sums(wide, rows).to(torch.float64), side)
    for dy, dx, weight in edge(radius, softening):
        soft.add_(_quadruple(wide, dy, dx, margin).to(torch.float64).mul_(weight * area))
    mass = (2 * sum(side) - side[0]) ** 2
    return clipped(soft.mul_((1 + excess) / (area * mass)))


def half_widths(radius: float) -> list[int]:
    """The half width of the disk's row, for its rows 0, 1, ..."""
    return [math.isqrt(int(radius**2 - y**2)) for y in range(int(radius) + 1)]


def disk_sums(wide: Tensor, rows: list[int]) -> Tensor:
    """Sums over a disk around every pixel: uint8 (B, C, H, W) -> int32, smaller by the disk."""
    reach = len(rows) - 1
    if reach == 0:
        return wide
    running = torch.nn.functional.pad(wide.cumsum(dim=3, dtype=torch.int32), (1, 0))
    width, height = wide.shape[3] - 2 * reach, wide.shape[2] - 2 * reach
    total: Tensor | None = None
    for y, half in enumerate(rows):
        if y == 0 or half != rows[y - 1]:
            right, left = reach + half + 1, reach - half
            run = running[..., right : right + width] - running[..., left : left + width]
        for shift in {reach - y, reach + y}:
            part = run[:, :, shift : shift + height]
            total = part.clone() if total is None else total.add_(part)
    assert total is not None  # as there are rows  # noqa: S101
    return total


def softener(radius: float, softening: float) -> list[float]:
    """The Gaussian taps from the centre outwards: one neighbour up to radius 8, then two; float32 as in OpenCV."""
    offsets = np.arange(2 if radius <= 8 else 3)
    weights = np.exp(-0.5 * (offsets / softening) ** 2)
    return (weights / (2 * weights.sum() - weights[0])).astype(np.float32).tolist()


def _softened(values: Tensor, side: list[float]) -> Tensor:
    """Filter along H and W; the result is smaller by the filter."""
    reach = len(side) - 1
    for dim in (2, 3):
        size = values.shape[dim] - 2 * reach
        total = values.narrow(dim, reach, size) * side[0]
        for i, weight in enumerate(side[1:], start=1):
            pair = values.narrow(dim, reach - i, size) + values.narrow(dim, reach + i, size)
            total.add_(pair.mul_(weight))
        values = total
    return values


@functools.lru_cache(maxsize=32)
def edge(radius: float, softening: float) -> tuple[tuple[int, int, float], ...]:
    """(dy, dx, weight), 0 <= dy, dx, of the entries in which the reference's kernel differs from the softened disk."""
    side = softener(radius, softening)
    reach, taps = max(8, int(radius)), np.array(side[:0:-1] + side)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (x**2 + y**2 <= radius**2).astype(np.float64)
    margin = len(side) - 1
    difference = np.pad(_filtered(np.pad(disk, margin, mode="reflect"), taps), margin) - _filtered(
        np.pad(disk, 2 * margin), taps
    )
    centre = reach + margin
    quadrant = difference[centre:, centre:] / disk.sum()
    return tuple((int(i), int(j), float(quadrant[i, j])) for i, j in np.argwhere(np.abs(quadrant) > 1e-12))


def _filtered(values: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Filter both axes; the result is smaller by the filter."""
    for _ in range(2):
        size = len(values) - len(taps) + 1
        values = sum(tap * values[i : i + size] for i, tap in enumerate(taps)).T
    return values


def _quadruple(wide: Tensor, dy: int, dx: int, margin: int) -> Tensor:
    """The sum of the pixels at (+-dy, +-dx) from every pixel, each counted once."""
    height, width = wide.shape[2] - 2 * margin, wide.shape[3] - 2 * margin
    offsets = {(y, x) for y in (dy, -dy) for x in (dx, -dx)}
    parts = [wide[:, :, margin + y : margin + y + height, margin + x : margin + x + width] for y, x in offsets]
    return functools.reduce(torch.add, [part.to(torch.int32) for part in parts])
