"""The paper's class vectors: integers uniform in -100..99, then L2-normalised.

Shalev, Shalev and Keshet, "Redesigning the classification layer by randomizing the class representation vectors"
(arXiv 2011.08704), as in its official code.  An entry takes 16 bits: bits * 200 >> 16, minus 100.
"""

import torch
from torch import Tensor

from randhead import seeds
from randhead.vectors._exact import unit

BY_ROW = True


def rows(ids: Tensor, dim: int, *, seed: int, num_classes: int | None = None) -> Tensor:
    """Unit vectors of uniform integers: ids (N,) int64 -> (N, dim) float32."""
    # Exact: bits * 25 has 21 bits.  floor(bits * 200 / 65536 - 100) is the integer.
    entries = seeds.signed_halves(seed, "vectors/uniform", ids, dim).to(torch.float32).mul_(200 / 65536).floor_()
    # A row of zeros, one in 200^dim, becomes the first axis.
    entries[:, 0] += (entries.amin(dim=1) == 0) & (entries.amax(dim=1) == 0)
    return unit(entries, largest=100)


def limit(dim: int) -> None:
    """None: any number of classes."""
