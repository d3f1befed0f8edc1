"""Gaussian noise: x + N(0, sigma) for every pixel and channel.  Hendrycks and Dietterich, ICLR 2019."""

from torch import Tensor

from randhead import rng
from randhead.corruptions._bytes import clipped, shaped

GROUP, ORDER = "noise", 1
SEVERITY_PARAMETERS = {  # sigma, in units of 255 grey levels
    "32": (0.04, 0.06, 0.08, 0.09, 0.10),
    "64": (0.04, 0.08, 0.12, 0.15, 0.18),
    "224": (0.08, 0.12, 0.18, 0.26, 0.38),
}


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Normals (B, 3, H, W) float32."""
    count = 3 * size[0] * size[1]
    return {"normals": shaped(rng.long_normals(seed, "corruptions/gaussian_noise", ids, count), size)}


def apply(images: Tensor, noise: dict[str, Tensor], sigma: float) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, with noise of standard deviation `sigma`."""
    return clipped((noise["normals"] * (255 * sigma)).add_(images))
