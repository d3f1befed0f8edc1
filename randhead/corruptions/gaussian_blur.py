"""Gaussian blur.  An extra corruption of Hendrycks and Dietterich, ICLR 2019."""

from torch import Tensor

from randhead.corruptions._blur import blurred

GROUP, ORDER = "extra", 17
SEVERITY_PARAMETERS = {  # sigma in pixels
    "32": (0.4, 0.6, 0.7, 0.8, 1.0),
    "64": (0.5, 0.75, 1.0, 1.25, 1.5),
    "224": (1.0, 2.0, 3.0, 4.0, 6.0),
}


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Nothing: Gaussian blur is not random."""
    return {}


def apply(images: Tensor, noise: dict[str, Tensor], sigma: float) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, blurred with a standard deviation of `sigma` pixels."""
    return blurred(images, sigma)
