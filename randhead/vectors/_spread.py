"""Unit vectors that an optimiser pushes apart: the largest cosine, or the largest absolute cosine, is made small.

From a random start, Adam minimises sum_{i != j} exp(t cos_ij) on the sphere while t rises, in float64 on the CPU; for
the absolute cosine, of cosh(t cos_ij).  Adam's steps do not become small enough for the last percents, which are a
third of the cosine just above 2 D classes, so gradient descent with momentum then settles the vectors.  The same seed
gives the same vectors on the same machine, for any number of threads; on another machine, rounding errors, amplified
over the steps, changed entries by 1e-4.
"""

import torch
from torch import Tensor

from randhead import ambient, rng

# Chosen on K = 24..1000, D = 3..128; they reproduce the best known arrangements of 12 and 24 points in 3 dimensions.
STEPS = 300
STEP_SIZE = 0.02
SHARPNESS = (10.0, 1000.0)
SETTLED = (100.0, 3000.0)  # sharpness while settling; steps are 1 over it
MOMENTUM = 0.9
# Larger sets that are tried too, if they are cheap, cut to K: an optimiser may find a better place with one more.
AHEAD = 2
CHEAP = 2_000_000  # K^2 D; a set takes about half a second


def separated(
    num_classes: int, dim: int, *, seed: int, purpose: str, settled: bool = True, absolute: bool = False
) -> Tensor:
    """The best set that is found of K unit vectors: (K, dim) float64.

    Args:
        num_classes: K.
        dim: D.
        seed: of the random start.
        purpose: of the random numbers.
        settled: whether to settle the vectors also if that is not cheap.
        absolute: whether the largest absolute cosine is made small, instead of the largest.
    """

    def optimised(count: int) -> Tensor:
        start = rng.normals(seed, purpose, ambient.indices(count), dim).to(torch.float64)
        return spread(start / start.norm(dim=1, keepdim=True), absolute=absolute)

    cheap = num_classes**2 * dim <= CHEAP
    with ambient.threads(1):  # the order of sums, and with it the last bits, would depend on their number
        found = [optimised(num_classes)]
        if settled or cheap:
            found.append(settle(found[0], absolute=absolute))
        for more in range(1, AHEAD + 1) if cheap else ():
            found.append(settle(optimised(num_classes + more), absolute=absolute)[:num_classes])
        return min(found, key=lambda vectors: largest(vectors, absolute=absolute))


def largest(vectors: Tensor, *, absolute: bool = False) -> float:
    """The largest cosine of unit vectors (K, D), or the largest absolute one."""
    cosines = (vectors @ vectors.T).fill_diagonal_(-1)
    return float((cosines.fill_diagonal_(0).abs() if absolute else cosines).max())


def spread(vectors: Tensor, *, absolute: bool = False) -> Tensor:
    """Push unit vectors (K, D) float64 apart, the closest pairs first: (K, D) float64 of unit norm."""
    mean, power = torch.zeros_like(vectors), torch.zeros_like(vectors)
    low, high = SHARPNESS
    for step in range(1, STEPS + 1):
        done = step / STEPS
        gradient = _push(vectors, low * (high / low) ** done, absolute)
        mean.lerp_(gradient, 0.1)
        power.lerp_(gradient.square(), 0.01)
        move = (mean / (1 - 0.9**step)) / ((power / (1 - 0.99**step)).sqrt() + 1e-9)
        vectors = vectors - STEP_SIZE * (1 - done) * move
        vectors = vectors / vectors.norm(dim=1, keepdim=True)
    return vectors


def settle(vectors: Tensor, *, absolute: bool = False) -> Tensor:
    """Move unit vectors (K, D) float64 that are apart already to the nearest optimum: (K, D) float64 of unit norm."""
    velocity = torch.zeros_like(vectors)
    low, high = SETTLED
    for step in range(STEPS):
        sharpness = low * (high / low) ** (step / STEPS)
        velocity = MOMENTUM * velocity - _push(vectors, sharpness, absolute) / sharpness
        velocity = velocity - (velocity * vectors).sum(dim=1, keepdim=True) * vectors
        vectors = vectors + velocity
        vectors = vectors / vectors.norm(dim=1, keepdim=True)
    return vectors


def _push(vectors: Tensor, sharpness: float, absolute: bool) -> Tensor:
    """The gradient of the energy, scaled to weights of mean 1 per row, without its radial part: (K, D)."""
    cosines = (vectors @ vectors.T).fill_diagonal_(-torch.inf)
    if absolute:
        signs = cosines.sign().fill_diagonal_(0)
        cosines = cosines.abs_().fill_diagonal_(-torch.inf)
    weights = cosines.sub_(cosines.max()).mul_(sharpness).exp_()
    size = len(vectors) / weights.sum()
    gradient = ((weights.mul_(signs) if absolute else weights) @ vectors).mul_(size)
    return gradient - (gradient * vectors).sum(dim=1, keepdim=True) * vectors
