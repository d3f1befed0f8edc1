"""Margins: a sample's own cosine is made smaller during training, so that it has to be larger.  (B,) -> (B,).

They act on the own score alone, outside of the normaliser, so every normaliser can have them.
"""

import math

import torch
from torch import Tensor


def cosface(cosines: Tensor, *, margin: float = 0.35) -> Tensor:
    """cos(t) - margin.  CosFace (Wang et al. 2018, eq. 4)."""
    return cosines - margin


def arcface(cosines: Tensor, *, margin: float = 0.5) -> Tensor:
    """cos(t + margin), margin in radians.  ArcFace (Deng et al. 2019, eq. 3).

    Beyond t = pi - margin, where that would rise again, it goes on as cos(t) - margin * sin(margin), as in the official
    code.
    """
    # The derivative of the sine is infinite at +-1.
    sines = (1 - cosines.square()).clamp(min=1e-7).sqrt()
    turned = cosines * math.cos(margin) - sines * math.sin(margin)
    return torch.where(cosines > -math.cos(margin), turned, cosines - margin * math.sin(margin))
