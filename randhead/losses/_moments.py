"""Log moment generating functions log M(z) = log E exp(z.w) of random class vectors w of unit norm.

Each maps queries (B, D) to log M (B,), differentiable, and a bound on its error (B,), None if the formula is exact.
"""

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

LogMeanExp = Callable[[Tensor], tuple[Tensor, Tensor | None]]

NODES = 128  # of the quadrature: exact to rounding for |z| up to 500 in any dimension
MEAN_SQUARE = 3333.5  # of the integers -100..99
SERIES = 0.5  # largest |x| for the series, whose first omitted term is then below 1e-10
KURTOSIS = 1.8  # of the integers -100..99: mean fourth power over the square of the mean square


def rademacher(queries: Tensor) -> tuple[Tensor, None]:
    """Entries +-1/sqrt(D): sum_i log cosh(z_i/sqrt(D))."""
    scaled = (queries / math.sqrt(queries.shape[1])).abs()
    return (scaled + F.softplus(-2 * scaled) - math.log(2)).sum(dim=1), None


def gaussian(queries: Tensor) -> tuple[Tensor, None]:
    """Directions uniform on the sphere: the component along z has density (1 - t^2)^((D-3)/2).

    The integral over it is a Gauss-Gegenbauer sum.  For large D it is |z|^2/(2D) - |z|^4/(4D^3) + ...
    """
    nodes, log_weights = _gegenbauer(queries.shape[1], queries.device)
    norms = torch.linalg.vector_norm(queries, dim=1).to(torch.float64)
    return torch.logsumexp(log_weights + norms[:, None] * nodes, dim=1).to(queries.dtype), None


def uniform(queries: Tensor) -> tuple[Tensor, Tensor]:
    """Integers -100..99 divided by the norm of the row.

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


def _log_sinhc(x: Tensor) -> Tensor:
    """log(sinh(x)/x), by its series for small |x|, for which the closed form would lose digits."""
    small = x.abs() < SERIES
    if small.all():  # as with features of ordinary norm: 3 times as fast
        return _log_sinhc_series(x)
    large = torch.where(small, 1.0, x.abs())
    closed = large + torch.log1p(-torch.exp(-2 * large)) - torch.log(2 * large)
    return torch.where(small, _log_sinhc_series(torch.where(small, x, 0.0)), closed)


def _log_sinhc_series(x: Tensor) -> Tensor:
    square = x.square()
    return square * (1 / 6 - square * (1 / 180 - square * (1 / 2835 - square * (1 / 37800 - square / 467775))))


@functools.lru_cache(maxsize=64)
def _gegenbauer(dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and log-weights for the density (1 - t^2)^((dim-3)/2) on [-1, 1], summing to 1 (Golub and Welsch 1969)."""
    if dim == 1:
        both = torch.tensor([[-1.0, 1.0], [-math.log(2)] * 2], dtype=torch.float64, device=device)
        return both[0], both[1]
    n = torch.arange(1, NODES, dtype=torch.float64)
    order = dim / 2 - 1
    squares = n * (n + 2 * order - 1) / (4 * (n + order) * (n + order - 1))
    if dim == 2:  # Chebyshev: the first coefficient is a limit
        squares[0] = 0.5
    jacobi = torch.diag(squares.sqrt(), 1)
    nodes, vectors = torch.linalg.eigh(jacobi + jacobi.T)
    log_weights = torch.log(vectors[0].square())
    return nodes.to(device), (log_weights - torch.logsumexp(log_weights, dim=0)).to(device)


BY_GEOMETRY: dict[str, LogMeanExp] = {"rademacher": rademacher, "gaussian": gaussian, "uniform": uniform}
