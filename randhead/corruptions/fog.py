"""Fog: a fractal cloud is added, then the result is scaled back by the maximum of the image.

Hendrycks and Dietterich, ICLR 2019.
"""

import torch
from torch import Tensor

from randhead import rng
from randhead.corruptions._bytes import clipped
from randhead.corruptions._plasma import plasma

GROUP, ORDER = "weather", 10
SEVERITY_PARAMETERS = {  # share of the fog, and fall of the amplitude per level: a small fall gives fine structure
    "32": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    "64": ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
    "224": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
}
SIDES = {"32": 32, "64": 64, "224": 256}  # of the cloud; larger images take the next power of two


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Uniforms (B, M^2 - 1) float32 in -1..1, in the order of the algorithm, for a cloud of M x M."""
    side = max(SIDES[parameter_set], 1 << (max(size) - 1).bit_length())
    halves = rng.long_halves(seed, "corruptions/fog", ids, side * side - 1)
    return {"uniforms": halves.to(torch.float32).add_(0.5).mul_(2.0**-15).sub_(1)}


def apply(images: Tensor, noise: dict[str, Tensor], parameters: tuple[float, float]) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, in fog of `parameters` (share, fall)."""
    share, fall = parameters
    height, width = images.shape[2:]
    cloud = plasma(noise["uniforms"], fall)[:, None, :height, :width]
    brightest = images.amax(dim=(1, 2, 3), keepdim=True).to(torch.float32)
    scale = brightest / (brightest + 255 * share)
    return clipped((cloud * (255 * share)).add(images).mul_(scale))
