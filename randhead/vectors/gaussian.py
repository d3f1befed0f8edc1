"""Standard normal entries, then L2-normalised: directions uniform on the sphere.

The normals are integers over a power of two (quantiles of 16 random bits, `seeds.normals`), so the norm is exact.
"""

from torch import Tensor

from randhead import seeds
from randhead.vectors._exact import unit

BY_ROW = True


def rows(ids: Tensor, dim: int, *, seed: int, num_classes: int | None = None) -> Tensor:
    """Uniformly random directions: ids (N,) int64 -> (N, dim) float32 of unit norm."""
    return unit(seeds.normals(seed, "vectors/gaussian", ids, dim))


def limit(dim: int) -> None:
    """None: any number of classes."""
