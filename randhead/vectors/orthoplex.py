"""The orthoplex (cross-polytope), randomly rotated: plus and minus each axis, as in Regular Polytope Networks.

Pernici, Bruni, Baecchi and Del Bimbo (arXiv 2103.15632).  Classes 2j and 2j + 1 are opposite, all others orthogonal.
At most 2 D classes.
"""

import torch
from torch import Tensor

from randhead.vectors._rotation import axes

BY_ROW = False


def rows(ids: Tensor, dim: int, *, seed: int, num_classes: int) -> Tensor:
    """Some of the `num_classes` corners of an orthoplex: ids (N,) int64 -> (N, dim) float32."""
    frame = axes(-(-num_classes // 2), dim, seed=seed, purpose="vectors/orthoplex").to(torch.float32)
    pairs = torch.stack((frame, -frame), dim=1).flatten(0, 1)
    return pairs.to(ids.device)[ids]


def limit(dim: int) -> int:
    """2 D: one class at each end of every axis."""
    return 2 * dim
