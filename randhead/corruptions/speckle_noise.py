"""Speckle noise: x + x N(0, sigma), so that dark pixels change little.

An extra corruption of Hendrycks and Dietterich, ICLR 2019.
"""

from torch import Tensor

from randhead import rng
from randhead.corruptions._bytes import clipped, shaped

GROUP, ORDER = "extra", 16
SEVERITY_PARAMETERS = {  # sigma, relative to the pixel
    "32": (0.06, 0.1, 0.12, 0.16, 0.2),
    "64": (0.15, 0.2, 0.25, 0.3, 0.35),
    "224": (0.15, 0.2, 0.35, 0.45, 0.6),
}


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Normals (B, 3, H, W) float32."""
    count = 3 * size[0] * size[1]
    return {"normals": shaped(rng.long_normals(seed, "corruptions/speckle_noise", ids, count), size)}


def apply(images: Tensor, noise: dict[str, Tensor], sigma: float) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, with noise of standard deviation `sigma` times the pixel."""
    # 1 is added in the units of the noise: this is as exact as x + x n, since the product is rounded once in both.
    return clipped((noise["normals"] * sigma).add_(1).mul_(images))
