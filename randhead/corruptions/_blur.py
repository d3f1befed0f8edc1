"""The Gaussian blur of bytes: `_gaussian.exactly`, to the bit; on a CPU in half the time.

Bytes are truncated, so a sum in float32 decides every value that is further from an integer than the rounding errors of
the sum.  About 1 value of 1,000 is nearer, and those whose whole window has one grey level, for which the result is
known.  The rest is computed in float64, in the order of the reference.
"""

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from randhead import ambient
from randhead.corruptions._bytes import divided, truncated
from randhead.corruptions._gaussian import exactly, kernel, pairs_added

UNIT = 2.0**-17  # half the distance of two float32 numbers below 256
BLOCK = 16  # rows of a matrix that are multiplied at once, with the columns that are not 0


def blurred(images: Tensor, sigma: float) -> Tensor:
    """uint8 (B, C, H, W) -> uint8, filtered with sigma in pixels, borders replicated."""
    return (_decided if images.device.type == "cpu" else exactly)(images, sigma)


def _decided(images: Tensor, sigma: float) -> Tensor:
    """As `exactly`, which computes only what float32 cannot decide."""
    weights = kernel(sigma)
    radius = len(weights) - 1
    if not radius or not images.numel():
        return exactly(images, sigma)
    images = images.contiguous()
    sums = torch.from_numpy(_in_float32(images.numpy(), weights))
    out = truncated(sums)
    # Per axis, each of 2 radius additions is wrong by at most a unit, since weights and partial sums are positive; all
    # products and all weights together by 2 units each.  The last unit is for the sums of `exactly`.
    error = (2 * (2 * radius + 4) + 1) * UNIT
    unsure = (sums.frac_().sub_(0.5).abs_() >= 0.5 - error).flatten().numpy()
    flat, octets = out.view(-1), images.view(-1)
    rows, window = np.flatnonzero(unsure), (2 * radius + 1) ** 2
    if len(rows) * window > len(unsure):
        uniform = _is_uniform(images, radius).flatten().numpy()
        known = torch.from_numpy(np.flatnonzero(unsure & uniform))
        flat[known] = _of_uniform(sigma).index_select(0, octets[known].to(torch.int32))
        rows = np.flatnonzero(unsure & ~uniform)
    if len(rows) * window > len(unsure) * radius:  # computing all is faster
        return exactly(images, sigma)
    if len(rows):
        at = torch.from_numpy(rows)
        flat[at] = _exactly_at(octets, at, images.shape[2:], weights)
    return out


def _in_float32(images: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
    """Images (B, C, H, W), filtered along H and W by products with matrices.

    By NumPy, whose products are always in float32: those of torch depend on settings of the user.
    """
    height, width = images.shape[2:]
    values = images.astype(np.float32)
    down = np.empty_like(values)
    for rows, inside, part in _bands(height, weights):
        np.matmul(part, values[:, :, inside], out=down[:, :, rows])
    lines = down.reshape(-1, width)
    out = values.reshape(-1, width)
    for columns, inside, part in _bands(width, weights):
        np.matmul(lines[:, inside], part.T, out=out[:, columns])
    return values


@functools.lru_cache(maxsize=64)
def _bands(size: int, weights: tuple[float, ...]) -> list[tuple[slice, slice, np.ndarray]]:
    """The filter of a side as a matrix, in blocks of rows: (rows, columns that are not 0, float32 values there)."""
    radius = len(weights) - 1
    matrix = np.zeros((size, size))
    for i, weight in zip(range(-radius, radius + 1), weights + weights[-2::-1], strict=True):
        np.add.at(matrix, (np.arange(size), np.clip(np.arange(size) + i, 0, size - 1)), weight)
    found = []
    for start in range(0, size, BLOCK):
        rows = slice(start, min(start + BLOCK, size))
        inside = slice(max(start - radius, 0), min(rows.stop + radius, size))
        found.append((rows, inside, np.ascontiguousarray(matrix[rows, inside], dtype=np.float32)))
    return found


def _padded(values: Tensor, radius: int, dim: int) -> Tensor:
    """Repeat the border of a dimension."""
    last = values.narrow(dim, values.shape[dim] - 1, 1)
    shape = [radius if i == dim else -1 for i in range(values.ndim)]
    return torch.cat((values.narrow(dim, 0, 1).expand(shape), values, last.expand(shape)), dim=dim)


def _is_uniform(images: Tensor, radius: int) -> Tensor:
    """Whether all pixels of a window have the same value: (B, C, H, W) bool."""
    return _extreme(images, radius, torch.maximum) == _extreme(images, radius, torch.minimum)


def _extreme(values: Tensor, radius: int, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The extreme value of a window, by doubling its length."""
    for dim in (2, 3):
        length, whole, size = 1, 2 * radius + 1, values.shape[dim]
        values = _padded(values, radius, dim)
        while length < whole:
            step = min(length, whole - length)
            left = values.shape[dim] - step
            values = choose(values.narrow(dim, 0, left), values.narrow(dim, step, left))
            length += step
        values = values.narrow(dim, 0, size)
    return values


@ambient.kept(maxsize=64)
def _of_uniform(sigma: float) -> Tensor:
    """What becomes of each grey level in a window that has no other: (256,) uint8."""
    return exactly(torch.arange(256, dtype=torch.uint8, device="cpu").view(256, 1, 1, 1), sigma).flatten()


def _exactly_at(values: Tensor, at: Tensor, size: torch.Size, weights: tuple[float, ...]) -> Tensor:
    """The results at some positions of the flattened images: (M,) uint8."""
    height, width = size
    radius = len(weights) - 1
    offsets = torch.arange(-radius, radius + 1, dtype=torch.int64, device="cpu")[:, None]
    y, x = at // width % height, at % width
    rows = (y + offsets).clamp_(0, height - 1).sub_(y).mul_(width)
    columns = (x + offsets).clamp_(0, width - 1).sub_(x)
    index = rows[:, None].add(columns).add_(at)  # row of the window, column, position
    window = divided(values.index_select(0, index.flatten()).to(torch.float64), 255).view(index.shape)
    sums = pairs_added(pairs_added(window.unbind(0), weights).unbind(0), weights)
    return truncated(sums.clamp_(0, 1).mul_(255))
