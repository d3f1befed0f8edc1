"""Standard normal entries, then L2-normalised: directions uniform on the sphere.

The entries are integers divided by a power of two (quantiles of 16 random bits, as in `rng.normals`), so that the sum
of their squares is exact.
"""

from torch import Tensor

from randhead import rng
from randhead.vectors._exact import parts, unit_

BY_ROW = True


def rows(ids: Tensor, dim: int, *, seed: int, out: Tensor) -> None:
    """Uniformly random directions: ids (N,) int64, written to `out` (N, dim) float32."""
    drawn = rng.signed_halves(seed, "vectors/gaussian", ids, dim)
    for entries, halves in parts(out, drawn):
        unit_(entries.copy_(rng.normals_of(halves)))


def limit(dim: int) -> None:
    """None: any number of classes."""
