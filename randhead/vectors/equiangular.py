"""Vectors whose largest absolute cosine an optimiser has made as small as it can: lines that are far apart.

Equiangular basis vectors (Shen, Sun and Wei, CVPR 2023, arXiv 2303.11637) without their threshold.  No two classes are
close, and none are opposite either; `packed` lets classes be opposite, and so has a smaller largest cosine.

* K <= D: orthonormal axes.
* K = D + 1: the simplex, which reaches Welch's bound.
* K > D + 1: `_spread` optimises them from a random start.  At K = 1,000, D = 100 the largest absolute cosine becomes
  0.132; `packed` vectors have 0.37, random ones 0.48, and Welch's bound is 0.095.
"""

import torch
from torch import Tensor

from randhead.vectors import packed, simplex
from randhead.vectors._rotation import axes
from randhead.vectors._spread import separated

BY_ROW = False
PURPOSE = "vectors/equiangular"


def rows(ids: Tensor, dim: int, *, seed: int, num_classes: int) -> Tensor:
    """Some of `num_classes` vectors with small absolute cosines: ids (N,) int64 -> (N, dim) float32."""
    if num_classes <= dim:
        vectors = axes(num_classes, dim, seed=seed, purpose=PURPOSE)
    elif num_classes == dim + 1:
        vectors = simplex.vertices(axes(dim, dim, seed=seed, purpose=PURPOSE))
    else:
        vectors = separated(num_classes, dim, seed=seed, purpose=PURPOSE, absolute=True)
    return vectors.to(torch.float32).to(ids.device)[ids]


def limit(dim: int) -> int:
    """`packed.MOST`, the number of classes that can be optimised in minutes, or D + 1 if larger."""
    return max(dim + 1, packed.MOST) if dim > 1 else 2
