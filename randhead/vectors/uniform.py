"""The paper's class vectors: integers uniform in -100..99, then L2-normalised.

Shalev, Shalev and Keshet, "Redesigning the classification layer by randomizing the class representation vectors"
(arXiv 2011.08704), as in its official code.  An entry takes 16 bits: bits * 200 >> 16, minus 100.
"""

import math

import torch
from torch import Tensor

from randhead import rng
from randhead.vectors._exact import parts, unit_
from randhead.vectors._geometry import CudaDraw

BY_ROW = True
INDEPENDENT = True
PURPOSE = "vectors/uniform"
CUDA_DRAW = CudaDraw("integers", PURPOSE)

MEAN_SQUARE = 3333.5  # of the integers -100..99
KURTOSIS = 1.8  # and their mean fourth power over the square of that
SERIES = 0.5  # largest |x| for the series, whose first omitted term is then below 1e-10


def rows(ids: Tensor, dim: int, *, seed: int, out: Tensor) -> None:
    """Unit vectors of uniform integers: ids (N,) int64, written to `out` (N, dim) float32."""
    drawn = rng.signed_halves(seed, PURPOSE, ids, dim)
    for entries, halves in parts(out, drawn):
        # Exact: bits * 25 has 21 bits.  floor(bits * 200 / 65536 - 100) is the integer.
        unit_(entries.copy_(halves).mul_(200 / 65536).floor_(), largest=100)


def limit(dim: int) -> None:
    """None: any number of classes."""


def log_mean_exp(queries: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithm of E exp(z.w) and a bound on the error of this formula: (B, D) -> (B,), (B,).

    If the squared norm is replaced by its mean, D * 3333.5, the entries are independent, and the sum of a geometric
    series gives log M.  The fluctuation of the norm lowers log M by up to 0.1 |z|^4/D^3 (terms in |z|^2 cancel, as
    E w_i^2 = 1/D): by all of this if z is spread over the axes, by nothing if it lies along one.  Half of this is
    subtracted, and all of it is the bound on the error: larger than any error in 2,000,000 draws at D = 4 to 512,
    |z| = 2 to 30.
    """
    dim = queries.shape[1]
    step = queries / math.sqrt(dim * MEAN_SQUARE)
    fixed_norm = (_log_sinhc(100 * step) - _log_sinhc(step / 2) - step / 2).sum(dim=1)
    fluctuation = (KURTOSIS - 1) / 8 * queries.square().sum(dim=1).square() / dim**3
    return fixed_norm - fluctuation / 2, fluctuation.detach()


def mean_row(dim: int) -> Tensor:
    """The mean of the integers over the usual norm: (dim,) float32."""
    return torch.full((dim,), -0.5 / math.sqrt(dim * MEAN_SQUARE), dtype=torch.float32, device="cpu")


def _log_sinhc(x: Tensor) -> Tensor:
    """log(sinh(x)/x), by its series for small |x|, for which the closed form would lose digits."""
    small = x.abs() < SERIES
    if not x.is_cuda and small.all():  # of features of ordinary norm: 3 times as fast
        return _log_sinhc_series(x)
    large = torch.where(small, 1.0, x.abs())
    closed = large + torch.log1p(-torch.exp(-2 * large)) - torch.log(2 * large)
    return torch.where(small, _log_sinhc_series(torch.where(small, x, 0.0)), closed)


def _log_sinhc_series(x: Tensor) -> Tensor:
    square = x.square()
    return square * (1 / 6 - square * (1 / 180 - square * (1 / 2835 - square * (1 / 37800 - square / 467775))))
