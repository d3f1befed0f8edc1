"""Vectors with the smallest angle as large as an optimiser gets it: the geometry for more classes than dimensions.

* K <= D + 1: the simplex, which is the best there is.
* K <= 2 D: K - D simplices in mutually orthogonal subspaces.  The largest cosine is 0, and no arrangement of more
  than D + 1 vectors has less (Rankin 1955).  At K = 2 D this is the orthoplex.
* beyond: a random start moved by Adam along the gradient of sum_{i != j} exp(t cos_ij) while t rises, on the sphere,
  in float64 on the CPU.  At K = 1,000 it ends at a largest cosine of 0.15 (D = 64) and 0.075 (D = 128), where random
  vectors have 0.55 and 0.41 and Levenshtein's bound is 0.09 and 0.04.  The same seed gives the same vectors on the
  same machine; on another one, rounding amplified over the steps moved entries by 1e-4.

`randhead.head.preflight` shows what was reached beside the bounds of Welch and Levenshtein.
"""

import torch
from torch import Tensor

from randhead import rng
from randhead.vectors._rotation import axes
from randhead.vectors.simplex import vertices

BY_ROW = False

# Chosen on K = 24..1000, D = 3..128; the best known arrangements of 12 and 24 points in space come out.
STEPS = 300
STEP_SIZE = 0.02
SHARPNESS = (10.0, 1000.0)
MOST = 4096  # time grows with K^2 D: 7 s at K = 1,000, D = 128 on one core, minutes here


def rows(ids: Tensor, dim: int, *, seed: int, num_classes: int) -> Tensor:
    """Some of `num_classes` well separated vectors: ids (N,) int64 -> (N, dim) float32."""
    if num_classes <= 2 * dim:
        vectors = _simplices(num_classes, dim, seed=seed)
    else:
        start = rng.normals(seed, "vectors/packed", torch.arange(num_classes), dim).to(torch.float64)
        vectors = spread(start / start.norm(dim=1, keepdim=True))
    return vectors.to(torch.float32).to(ids.device)[ids]


def limit(dim: int) -> int:
    """Two classes per dimension in closed form, or as many as can be optimised in minutes."""
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
    """max(K - D, 1) simplices of nearly equal size, each in axes of its own: (K, dim) float64, K <= 2 dim."""
    pieces = max(num_classes - dim, 1)
    frame = axes(max(num_classes - pieces, 1), dim, seed=seed, purpose="vectors/packed")
    return torch.cat([vertices(part) for part in frame.tensor_split(pieces)])[:num_classes]
