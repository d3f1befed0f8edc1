"""Zoom blur: the mean of the image and of its zooms by 1, 1.01, ...  Hendrycks and Dietterich, ICLR 2019.

The list of zooms starts at 1, so that the image itself counts twice.  Sums are float32, in the reference's order.
"""

import numpy as np
import torch
from torch import Tensor

from randhead.corruptions._bytes import clipped, divided
from randhead.corruptions._zoom import clipped_zoom

GROUP, ORDER = "blur", 7
SMALL = ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01))
SEVERITY_PARAMETERS = {  # the end and the step of the zoom factors, which begin at 1
    "32": SMALL,
    "64": SMALL,
    "224": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
}


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Nothing: zoom blur is not random."""
    return {}


def apply(images: Tensor, noise: dict[str, Tensor], parameters: tuple[float, float]) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, blurred by zooms from 1 up to parameters[0], in steps of parameters[1]."""
    factors = np.arange(1, *parameters).tolist()
    values = divided(images.to(torch.float32), 255)
    turned = values.transpose(2, 3).contiguous()
    total = values.clone()  # the zoom by 1
    for factor in factors[1:]:
        total.add_(clipped_zoom(turned, factor))
    return clipped(divided(total.add_(values), len(factors) + 1).clamp_(0, 1).mul_(255))
