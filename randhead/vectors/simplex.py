"""The regular simplex, randomly rotated: cosine -1/(K - 1) between any two classes, the widest angles for K vectors.

The geometry that neural collapse ends in (Papyan, Han and Donoho 2020).  Built in closed form from K - 1 random
orthonormal axes, without recursion.  At most D + 1 classes.
"""

import math

import torch
from torch import Tensor

from randhead.vectors._rotation import axes

BY_ROW = False


def rows(ids: Tensor, dim: int, *, seed: int, num_classes: int) -> Tensor:
    """Some of the `num_classes` vertices of a simplex: ids (N,) int64 -> (N, dim) float32."""
    frame = axes(max(num_classes - 1, 1), dim, seed=seed, purpose="vectors/simplex")
    return vertices(frame).to(torch.float32).to(ids.device)[ids]


def vertices(frame: Tensor) -> Tensor:
    """The n + 1 vertices of the simplex that n orthonormal axes span: (n, D) -> (n + 1, D) of unit norm.

    Vertex i is sqrt(1 + 1/n) e_i - (sqrt(n + 1) - 1) n^(-3/2) (e_1 + ... + e_n); the last is minus the mean direction.
    """
    n = len(frame)
    total = frame.sum(dim=0)
    shift = (math.sqrt(n + 1) - 1) * n**-1.5
    return torch.cat((math.sqrt(1 + 1 / n) * frame - shift * total, -total[None, :] / math.sqrt(n)))


def limit(dim: int) -> int:
    """D + 1: one class more than dimensions."""
    return dim + 1
