"""The paper's class vectors: integers uniform in -100..99, then L2-normalised.

Shalev, Shalev and Keshet, "Redesigning the classification layer by randomizing the class representation vectors"
(arXiv 2011.08704), as in its official code.  An entry takes 16 bits: bits * 200 >> 16, minus 100.
"""

import torch
from torch import Tensor

from randhead import seeds

BY_ROW = True


def rows(ids: Tensor, dim: int, *, seed: int, num_classes: int | None = None) -> Tensor:
    """Unit vectors of uniform integers: ids (N,) int64 -> (N, dim) float32."""
    entries = (seeds.halves(seed, "vectors/uniform", ids, dim) * 200 >> 16) - 100
    squared = entries.square().sum(dim=1, keepdim=True).clamp_min(1)
    # The sum is an exact integer, so the only roundings are IEEE's, and every device makes the same ones.
    inverse = 1 / squared.to(torch.float64).sqrt()
    return entries.to(torch.float32) * inverse.to(torch.float32)


def limit(dim: int) -> None:
    """Any number of classes."""
    return None
