"""Vectors whose smallest angle an optimiser has made as large as it can: for more classes than dimensions.

* K <= D + 1: the simplex, which is optimal.
* K <= 2 D: K - D simplices in mutually orthogonal subspaces.  The largest cosine is 0, the smallest possible for more
  than D + 1 vectors (Rankin 1955).  At K = 2 D this is the orthoplex.
* K > 2 D: from a random start, Adam minimises sum_{i != j} exp(t cos_ij) on the sphere while t rises, in float64 on the
  CPU.  At K = 1,000 the largest cosine becomes 0.15 (D = 64) and 0.075 (D = 128); random vectors have 0.55 and 0.41,
  and Levenshtein's bound is 0.09 and 0.04.  The same seed gives the same vectors on the same machine; on another one,
  rounding errors, amplified over the steps, changed entries by 1e-4.

`randhead.head.preflight` shows the largest cosine beside the bounds of Welch and Levenshtein.
"""

import torch
from torch import Tensor

from randhead import ambient, rng
from randhead.vectors._rotation import axes
from randhead.vectors.simplex import vertices

BY_ROW = False

# Chosen on K = 24..1000, D = 3..128; they reproduce the best known arrangements of 12 and 24 points in 3 dimensions.
STEPS = 300
STEP_SIZE = 0.02
SHARPNESS = (10.0, 1000.0)
MOST = 4096  # classes; the time grows with K^2 D: 7 s at K = 1,000, D = 128 on one core, minutes at this number


def rows(ids: Tensor, dim: int, *, seed: int, num_classes: int) -> Tensor:
    """Some of `num_classes` well separated vectors: ids (N,) int64 -> (N, dim) float32."""
    if num_classes <= 2 * dim:
        vectors = _simplices(num_classes, dim, seed=seed)
    else:
        ids_of_all = ambient.indices(num_classes)
        start = rng.normals(seed, "vectors/packed", ids_of_all, dim).to(torch.float64)
        vectors = spread(start / start.norm(dim=1, keepdim=True))
    return vectors.to(torch.float32).to(ids.device)[ids]


def limit(dim: int) -> int:
    """MOST, the number of classes that can be optimised in minutes, or 2 D if larger, which has a closed form."""
    return max(2 * dim, MOST) if dim > 1 else 2


def spread(vectors: Tensor, *, steps: int = STEPS) -> Tensor:
    """Push unit vectors (K, D) float64 apart, the closest pairs first: (K, D) float64 of unit norm."""
    mean, power = torch.zeros_like(vectors), torch.zeros_like(vectors)
    low, high = SHARPNESS
    for step in range(1, steps + 1):
        done = step / steps
        gradient = _push(vectors, low * (high / low) ** done)
        mean.lerp_(gradient, 0.1)
        power.lerp_(gradient.square(), 0.01)
        move = (mean / (1 - 0.9**step)) / ((power / (1 - 0.99**step)).sqrt() + 1e-9)
        vectors = vectors - STEP_SIZE * (1 - done) * move
        vectors = vectors / vectors.norm(dim=1, keepdim=True)
    return vectors


def _push(vectors: Tensor, sharpness: float) -> Tensor:
    """The gradient of the energy, scaled to weights of mean 1 per row, without its radial part: (K, D)."""
    weights = (vectors @ vectors.T).fill_diagonal_(-torch.inf)
    weights = weights.sub_(weights.max()).mul_(sharpness).exp_()
    gradient = (weights @ vectors).mul_(len(vectors) / weights.sum())
    return gradient - (gradient * vectors).sum(dim=1, keepdim=True) * vectors


def _simplices(num_classes: int, dim: int, *, seed: int) -> Tensor:
    """max(K - D, 1) simplices of nearly equal size, each in its own axes: (K, dim) float64, K <= 2 dim."""
    pieces = max(num_classes - dim, 1)
    frame = axes(max(num_classes - pieces, 1), dim, seed=seed, purpose="vectors/packed")
    return torch.cat([vertices(part) for part in frame.tensor_split(pieces)])[:num_classes]
