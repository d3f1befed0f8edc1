"""The paper's class vectors: integers uniform in -100..99, then L2-normalised.

Shalev, Shalev and Keshet, "Redesigning the classification layer by randomizing the class representation vectors"
(arXiv 2011.08704), as in its official code.  An entry takes 16 bits: bits * 200 >> 16, minus 100.
"""

from torch import Tensor

from randhead import seeds
from randhead.vectors._exact import unit

BY_ROW = True


def rows(ids: Tensor, dim: int, *, seed: int, num_classes: int | None = None) -> Tensor:
    """Unit vectors of uniform integers: ids (N,) int64 -> (N, dim) float32."""
    entries = (seeds.halves(seed, "vectors/uniform", ids, dim) * 200 >> 16) - 100
    # A row of zeros, one in 200^dim, becomes the first axis.
    entries[:, 0] += (entries == 0).all(dim=1)
    return unit(entries)


def limit(dim: int) -> None:
    """None: any number of classes."""
