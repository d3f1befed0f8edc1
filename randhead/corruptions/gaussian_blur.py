"""Gaussian blur.  An extra of Hendrycks and Dietterich, 2019."""

from torch import Tensor

from randhead.corruptions._gaussian import blurred

GROUP, ORDER = "extra", 17
LEVELS = {  # sigma in pixels
    "32": (0.4, 0.6, 0.7, 0.8, 1.0),
    "64": (0.5, 0.75, 1.0, 1.25, 1.5),
    "224": (1.0, 2.0, 3.0, 4.0, 6.0),
}


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameters: str) -> dict[str, Tensor]:
    """Nothing: Gaussian blur is not random."""
    return {}


def apply(images: Tensor, field: dict[str, Tensor], level: float) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, blurred with a standard deviation of `level` pixels."""
    return blurred(images, level)
