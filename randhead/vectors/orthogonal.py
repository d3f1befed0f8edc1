"""Orthonormal vectors, Haar distributed: cosine 0 between any two classes.

As in "Fix your classifier" (Hoffer, Hubara and Soudry, arXiv 1801.04540).  Computed by QR of a Gaussian matrix in
float64 on the CPU.  At most D classes.
"""

import torch
from torch import Tensor

from randhead.vectors._rotation import axes

BY_ROW = False


def rows(ids: Tensor, dim: int, *, seed: int, num_classes: int) -> Tensor:
    """Some of `num_classes` orthonormal vectors: ids (N,) int64 -> (N, dim) float32."""
    vectors = axes(num_classes, dim, seed=seed, purpose="vectors/orthogonal").to(torch.float32)
    return vectors.to(ids.device)[ids]


def limit(dim: int) -> int:
    """D: as many classes as dimensions."""
    return dim
