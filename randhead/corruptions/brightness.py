"""Brightness: the value of HSV is raised by c.  Hendrycks and Dietterich, ICLR 2019."""

from torch import Tensor

from randhead.corruptions._hue import with_value_raised

GROUP, ORDER = "weather", 11
SEVERITY_PARAMETERS = {
    "32": (0.05, 0.1, 0.15, 0.2, 0.3),
    "64": (0.1, 0.2, 0.3, 0.4, 0.5),
    "224": (0.1, 0.2, 0.3, 0.4, 0.5),
}


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Nothing: brightness is not random."""
    return {}


def apply(images: Tensor, noise: dict[str, Tensor], raised_by: float) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, with `raised_by` added to the value of HSV."""
    return with_value_raised(images, raised_by)
