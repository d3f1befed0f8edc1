"""Vectors whose smallest angle an optimiser has made as large as it can: for more classes than dimensions.

* K <= D + 1: the simplex, which is optimal.
* K <= 2 D: K - D simplices in mutually orthogonal subspaces.  The largest cosine is 0, the smallest possible for more
  than D + 1 vectors (Rankin 1955).  At K = 2 D this is the orthoplex.
* K > 2 D: `_spread` optimises them from a random start.  At K = 1,000 the largest cosine becomes 0.15 (D = 64) and
  0.075 (D = 128); random vectors have 0.55 and 0.41, and Levenshtein's bound is 0.09 and 0.04.

K vectors are at least as far apart as the first K of K + 1 up to 2 D, and beyond as far as an optimiser can ensure it.

`randhead.head.preflight` shows the largest cosine beside the bounds of Welch and Levenshtein.
"""

import torch
from torch import Tensor

from randhead.vectors._rotation import axes
from randhead.vectors._spread import separated
from randhead.vectors.simplex import vertices

BY_ROW = False

NEAR = 3  # classes per dimension up to which settling the vectors is worth its time
MOST = 4096  # classes; the time grows with K^2 D: 7 s at K = 1,000, D = 128 on one core, minutes at this number


def rows(ids: Tensor, dim: int, *, seed: int, num_classes: int) -> Tensor:
    """Some of `num_classes` well separated vectors: ids (N,) int64 -> (N, dim) float32."""
    if num_classes <= 2 * dim:
        vectors = _simplices(num_classes, dim, seed=seed)
    else:
        near = num_classes <= NEAR * dim
        vectors = separated(num_classes, dim, seed=seed, purpose="vectors/packed", settled=near)
    return vectors.to(torch.float32).to(ids.device)[ids]


def limit(dim: int) -> int:
    """MOST, the number of classes that can be optimised in minutes, or 2 D if larger, which has a closed form."""
    return max(2 * dim, MOST) if dim > 1 else 2


def _simplices(num_classes: int, dim: int, *, seed: int) -> Tensor:
    """max(K - D, 1) simplices of nearly equal size, each in its own axes: (K, dim) float64, K <= 2 dim."""
    pieces = max(num_classes - dim, 1)
    frame = axes(max(num_classes - pieces, 1), dim, seed=seed, purpose="vectors/packed")
    return torch.cat([vertices(part) for part in frame.tensor_split(pieces)])[:num_classes]
