"""Snow: bright specks with trails, falling at any angle, over a whitened image.  Hendrycks and Dietterich, ICLR 2019.

Specks are the peaks of enlarged Gaussian noise, as a byte image before and after motion blur.  The specks are added
twice, the second time rotated by 180 degrees.
"""

import torch
from torch import Tensor

from randhead import rng
from randhead.corruptions._bytes import clipped, shaped
from randhead.corruptions._motion import moved
from randhead.corruptions._zoom import clipped_zoom

GROUP, ORDER = "weather", 8
Parameters = tuple[float, float, float, float, int, float, float]
# Mean and standard deviation of the noise, its zoom, the threshold of a speck, radius and sigma of the trail in pixels,
# and the share of the image that remains.
SEVERITY_PARAMETERS: dict[str, tuple[Parameters, ...]] = {
    "32": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    "64": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
    ),
    "224": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
}


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Normals (B, H, W) float32 and angles (B,) float64, uniform in -135..-45 degrees."""
    normals = rng.long_normals(seed, "corruptions/snow", ids, size[0] * size[1])
    uniform = rng.uniforms(seed, "corruptions/snow", ids, 1, stream=1)[:, 0].to(torch.float64)
    return {"normals": shaped(normals, size, channels=None), "angles": uniform * 90 - 135}


def apply(images: Tensor, noise: dict[str, Tensor], parameters: Parameters) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, under snow of `parameters`."""
    mean, deviation, zoom, threshold, radius, sigma, kept = parameters
    # float64 as in the reference: other rounding at the threshold would remove or add a speck.
    specks = noise["normals"].to(torch.float64)[:, None].mul_(deviation).add_(mean)
    specks = clipped_zoom(specks.transpose(2, 3).contiguous(), zoom) if zoom > 1 else specks
    specks = clipped(specks.masked_fill_(specks < threshold, 0).mul_(255))
    flakes = moved(specks, noise["angles"], radius=radius, sigma=sigma)
    flakes = flakes.to(torch.int16).add_(flakes.flip(2, 3))
    values = images.to(torch.float32)
    white = grey(values).mul_(1.5).add_(127.5)
    whitened = torch.maximum(values, white).mul_(1 - kept).add_(values.mul_(kept))
    return clipped(whitened.add_(flakes))


def grey(values: Tensor) -> Tensor:
    """Luma of (B, 3, H, W): (B, 1, H, W)."""
    return values[:, :1] * 0.299 + values[:, 1:2] * 0.587 + values[:, 2:] * 0.114
