"""The paper's class vectors: integers uniform in -100..99, then L2-normalised.

Shalev, Shalev and Keshet, "Redesigning the classification layer by randomizing the class representation vectors"
(arXiv 2011.08704), as in its official code.  An entry takes 16 bits: bits * 200 >> 16, minus 100.
"""

from torch import Tensor

from randhead import rng
from randhead.vectors._exact import parts, unit_

BY_ROW = True


def rows(ids: Tensor, dim: int, *, seed: int, out: Tensor) -> None:
    """Unit vectors of uniform integers: ids (N,) int64, written to `out` (N, dim) float32."""
    drawn = rng.signed_halves(seed, "vectors/uniform", ids, dim)
    for entries, halves in parts(out, drawn):
        # Exact: bits * 25 has 21 bits.  floor(bits * 200 / 65536 - 100) is the integer.
        unit_(entries.copy_(halves).mul_(200 / 65536).floor_(), largest=100)


def limit(dim: int) -> None:
    """None: any number of classes."""
