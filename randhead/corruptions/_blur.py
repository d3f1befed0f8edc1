"""The Gaussian blur of bytes: `_gaussian.exactly`, to the bit; on a CPU in half the time.

Bytes are truncated, so a sum in float32 decides every value that is further from an integer than the rounding errors of
the sum.  About 1 value of 1,000 is nearer, and those whose whole window has one grey level, for which the result is
known.  The rest is computed in float64, in the order of the reference.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from randhead import ambient
from randhead.corruptions._borders import repeated
from randhead.corruptions._bytes import divided, truncated
from randhead.corruptions._gaussian import exactly, kernel, pairs_added

UNIT = 2.0**-17  # half the distance of two float32 numbers below 256
NARROW = 3  # pixels of radius below which float64 is as fast


def blurred(images: Tensor, sigma: float) -> Tensor:
    """uint8 (B, C, H, W) -> uint8, filtered with sigma in pixels, borders replicated."""
    return (_decided if images.device.type == "cpu" else exactly)(images, sigma)


def _decided(images: Tensor, sigma: float) -> Tensor:
    """As `exactly`, which computes only what float32 cannot decide."""
    weights = kernel(sigma)
    radius = len(weights) - 1
    if radius < NARROW or not images.numel():
        return exactly(images, sigma)
    images = images.contiguous()
    sums = _along(_along(images.to(torch.float32), weights, 2), weights, 3)
    out = truncated(sums)
    # In units: per axis, each of `radius` sums and the first product are wrong by at most 1, since weights are positive
    # and weighted means are below 256; the sums of pairs together by 1, since their weights add up to less than 1/2;
    # all other products by 2, and all weights by 2.  One more is for the sums of `exactly`.
    error = (2 * (radius + 6) + 1) * UNIT
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


def _along(values: Tensor, weights: tuple[float, ...], dim: int) -> Tensor:
    """Filter along a dimension, with products and sums in one step.

    A product of matrices would be faster for wide filters, but how exact it is depends on settings of the user.
    """
    radius, size = len(weights) - 1, values.shape[dim]
    wide = repeated(values, radius, dim)
    total, pair = values * weights[-1], torch.empty_like(values)
    for i, weight in enumerate(weights[:-1]):
        torch.add(wide.narrow(dim, i, size), wide.narrow(dim, 2 * radius - i, size), out=pair)
        total.add_(pair, alpha=weight)
    return total


def _is_uniform(images: Tensor, radius: int) -> Tensor:
    """Whether all pixels of a window have the same value: (B, C, H, W) bool."""
    return _extreme(images, radius, torch.maximum) == _extreme(images, radius, torch.minimum)


def _extreme(values: Tensor, radius: int, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The extreme value of a window, by doubling its length."""
    for dim in (2, 3):
        length, whole, size = 1, 2 * radius + 1, values.shape[dim]
        values = repeated(values, radius, dim)
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
