"""Saturate: the saturation of HSV becomes S a + b: less colour at severities 1 and 2, more colour from 3 on.

An extra corruption of Hendrycks and Dietterich, ICLR 2019.
"""

from torch import Tensor

from randhead.corruptions._hue import with_saturation

GROUP, ORDER = "extra", 19
SEVERITY_PARAMETERS = {  # a, b
    "32": ((0.3, 0), (0.1, 0), (1.5, 0), (2.0, 0.1), (2.5, 0.2)),
    "64": ((0.3, 0), (0.1, 0), (2.0, 0), (5.0, 0.1), (30.0, 0.2)),
    "224": ((0.3, 0), (0.1, 0), (2.0, 0), (5.0, 0.1), (20.0, 0.2)),
}


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Nothing: saturation is not random."""
    return {}


def apply(images: Tensor, noise: dict[str, Tensor], parameters: tuple[float, float]) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, with its saturation times `parameters[0]` plus `parameters[1]`."""
    return with_saturation(images, *parameters)
