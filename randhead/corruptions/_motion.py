"""Motion blur as in ImageMagick: a one-sided Gaussian trail of whole-pixel steps, borders repeated, bytes truncated."""

import math

import torch
from torch import Tensor

from randhead.corruptions._borders import repeated
from randhead.corruptions._bytes import truncated

ROUNDING = 0.5 / 257  # ImageMagick first rounds to 16 bits: a value this near to the next byte becomes that byte


def moved(images: Tensor, angles: Tensor, *, radius: int, sigma: float) -> Tensor:
    """Blur images (B, C, H, W) uint8, each with a trail along its angle (B,) float64, in degrees.

    The trail has 2 radius + 1 taps with weights exp(-i^2 / (2 sigma^2)), normalised.
    """
    batch, channels, height, width = images.shape
    margin = 2 * radius
    wide = repeated(repeated(images, margin, 2), margin, 3)
    # All runs of `width` bytes of the padded batch, as overlapping rows: a shifted image is a selection of these rows.
    runs = wide.as_strided((wide.numel() - width + 1, width), (1, 1))
    stride = width + 2 * margin
    plane = torch.arange(batch * channels, dtype=torch.int64, device=images.device) * ((height + 2 * margin) * stride)
    row = (torch.arange(height, dtype=torch.int64, device=images.device) + margin) * stride + margin
    start = (plane[:, None] + row).view(batch, -1)
    total = torch.zeros((batch, channels * height * width), dtype=torch.float32, device=images.device)
    weights = torch.tensor(_weights(radius, sigma), dtype=torch.float32, device=images.device).unbind()
    for weight, step in zip(weights, _steps(angles, 2 * radius + 1, stride), strict=True):
        total += runs.index_select(0, (start + step[:, None]).flatten()).view(total.shape) * weight
    return truncated(total.add_(ROUNDING)).view(images.shape)


def _weights(radius: int, sigma: float) -> list[float]:
    weights = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(2 * radius + 1)]
    return [weight / sum(weights) for weight in weights]


def _steps(angles: Tensor, taps: int, stride: int) -> Tensor:
    """Offset of tap i from its pixel, in an array with rows of `stride` values: (B,) -> (taps, B) int64."""
    radians = torch.deg2rad(angles.to(torch.float64))
    i = torch.arange(taps, dtype=torch.float64, device=angles.device)[:, None]
    dx, dy = (i * radians.cos() - 0.5).ceil(), (i * radians.sin() - 0.5).ceil()
    return (dy * stride + dx).to(torch.int64)
