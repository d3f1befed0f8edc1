"""Separable Gaussian filters with the reference's bits: scipy.ndimage, as scikit-image calls it.

The filtered image is truncated to bytes, and in flat regions the exact result is an integer, so that the last bit of
the sum decides.  So the taps are added one after another in scipy's order (the centre, then pairs from the outside in),
in float64, element by element, which also makes the result independent of batch, chunk and thread count.
"""

import functools
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from randhead.corruptions._bytes import divided, truncated

TRUNCATE = 4.0  # the filter ends at this many standard deviations


def exactly(images: Tensor, sigma: float) -> Tensor:
    """uint8 (B, C, H, W) -> uint8, filtered with sigma in pixels, borders replicated."""
    values = gaussian(divided(images.to(torch.float64), 255), sigma)
    return truncated(values.clamp_(0, 1).mul_(255))


def gaussian(values: Tensor, sigma: float) -> Tensor:
    """float64 (B, C, H, W) -> the same, filtered along H, then W; borders replicated."""
    weights = kernel(sigma)
    if len(weights) == 1:
        return values * weights[0]
    return along_width(along_height(values, weights), weights)


def along_height(values: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Correlate (B, C, H, W) with symmetric weights, given from the outside to the centre, along H."""
    radius, height = len(weights) - 1, values.shape[2]
    padded = F.pad(values, (0, 0, radius, radius), mode="replicate")
    return pairs_added([padded[:, :, i : i + height] for i in range(2 * radius + 1)], weights)


def along_width(values: Tensor, weights: tuple[float, ...]) -> Tensor:
    """The same along W."""
    radius, width = len(weights) - 1, values.shape[3]
    padded = F.pad(values, (radius, radius, 0, 0), mode="replicate")
    return pairs_added([padded[..., i : i + width] for i in range(2 * radius + 1)], weights)


def pairs_added(shifted: Sequence[Tensor], weights: tuple[float, ...]) -> Tensor:
    """The sum of tensors with symmetric weights, given from the outside to the centre, in the reference's order."""
    total = shifted[len(weights) - 1] * weights[-1]
    pair = torch.empty_like(total)
    for i, weight in enumerate(weights[:-1]):
        torch.add(shifted[i], shifted[-1 - i], out=pair)
        total.add_(pair.mul_(weight))
    return total


@functools.lru_cache(maxsize=64)
def kernel(sigma: float, truncate: float = TRUNCATE) -> tuple[float, ...]:
    """The weights of one side and the centre, from the outside in, rounded as in scipy."""
    radius = int(truncate * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * offsets**2)
    return tuple((weights / weights.sum())[: radius + 1].tolist())
