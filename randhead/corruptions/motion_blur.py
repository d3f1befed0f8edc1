"""Motion blur along an angle within 45 degrees of the horizontal.  Hendrycks and Dietterich, ICLR 2019."""

import torch
from torch import Tensor

from randhead import rng
from randhead.corruptions._motion import moved

GROUP, ORDER = "blur", 6
SEVERITY_PARAMETERS = {  # radius and sigma in pixels
    "32": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    "64": ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
    "224": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
}


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Angles (B,) float64, uniform in -45..45 degrees."""
    uniform = rng.uniforms(seed, "corruptions/motion_blur", ids, 1)[:, 0].to(torch.float64)
    return {"angles": uniform * 90 - 45}


def apply(images: Tensor, noise: dict[str, Tensor], parameters: tuple[int, float]) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, with trails of `parameters` (radius, sigma)."""
    radius, sigma = parameters
    return moved(images, noise["angles"], radius=radius, sigma=sigma)
