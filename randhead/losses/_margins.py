"""Margins: training lowers the cosine to the target class, so that features have to come closer to their class vector.

They change only the target's score, outside the sum over classes, so they work with every softmax method.
"""

import math

import torch
from torch import Tensor


def cosface(cosines: Tensor, *, margin: float = 0.35) -> Tensor:
    """CosFace: cos(t) - margin (Wang et al. 2018, eq. 4).

    Args:
        cosines: cosines to the target class (B,).
        margin: subtracted from the cosines.

    Returns:
        The lowered cosines (B,).

    Example:
        >>> cosface(torch.tensor([1.0, 0.5]), margin=0.25)
        tensor([0.7500, 0.2500])
    """
    return cosines - margin


def arcface(cosines: Tensor, *, margin: float = 0.5) -> Tensor:
    """ArcFace: cos(t + margin) (Deng et al. 2019, eq. 3).

    Beyond t = pi - margin, where cos(t + margin) would rise again, the result is cos(t) - margin * sin(margin), as in
    the official code.

    Args:
        cosines: cosines to the target class (B,).
        margin: added to the angle, in radians.

    Returns:
        The lowered cosines (B,).

    Example:
        >>> arcface(torch.tensor([0.0]), margin=math.pi / 6)
        tensor([-0.5000])
    """
    # The derivative of the sine is infinite at +-1.
    sines = (1 - cosines.square()).clamp(min=1e-7).sqrt()
    turned = cosines * math.cos(margin) - sines * math.sin(margin)
    return torch.where(cosines > -math.cos(margin), turned, cosines - margin * math.sin(margin))
