"""Standard normal entries, then L2-normalised: directions uniform on the sphere.

The entries are integers divided by a power of two (quantiles of 16 random bits, as in `rng.normals`), so that the sum
of their squares is exact.
"""

import math

import torch
from torch import Tensor

from randhead import ambient, rng
from randhead.vectors._exact import parts, unit_
from randhead.vectors._geometry import CudaDraw

BY_ROW = True
INDEPENDENT = True
PURPOSE = "vectors/gaussian"
CUDA_DRAW = CudaDraw("normals", PURPOSE)

NODES = 128  # of the quadrature: exact to rounding for |z| up to 500 in any dimension


def rows(ids: Tensor, dim: int, *, seed: int, out: Tensor) -> None:
    """Uniformly random directions: ids (N,) int64, written to `out` (N, dim) float32."""
    drawn = rng.signed_halves(seed, PURPOSE, ids, dim)
    for entries, halves in parts(out, drawn):
        unit_(entries.copy_(rng.normals_of(halves)))


def limit(dim: int) -> None:
    """None: any number of classes."""


def log_mean_exp(queries: Tensor) -> Tensor:
    """The logarithm of E exp(z.w) of directions uniform on the sphere: (B, D) -> (B,).

    The component along z has density (1 - t^2)^((D-3)/2), and the integral over it is a Gauss-Gegenbauer sum.  For
    large D it is |z|^2/(2D) - |z|^4/(4D^3) + ...
    """
    nodes, log_weights = gegenbauer(queries.shape[1], queries.device)
    norms = torch.linalg.vector_norm(queries, dim=1).to(torch.float64)
    return torch.logsumexp(log_weights + norms[:, None] * nodes, dim=1).to(queries.dtype)


def mean_row(dim: int) -> Tensor:
    """Zero: (dim,) float32."""
    return torch.zeros(dim, dtype=torch.float32, device="cpu")


@ambient.kept(maxsize=64)
def gegenbauer(dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and log-weights for the density (1 - t^2)^((dim-3)/2) on [-1, 1], summing to 1 (Golub and Welsch 1969)."""
    if dim == 1:
        both = torch.tensor([[-1.0, 1.0], [-math.log(2)] * 2], dtype=torch.float64, device=device)
        return both[0], both[1]
    n = torch.arange(1, NODES, dtype=torch.float64, device="cpu")
    order = dim / 2 - 1
    squares = n * (n + 2 * order - 1) / (4 * (n + order) * (n + order - 1))
    if dim == 2:  # Chebyshev: the first coefficient is a limit
        squares[0] = 0.5
    jacobi = torch.diag(squares.sqrt(), 1)
    nodes, vectors = torch.linalg.eigh(jacobi + jacobi.T)
    log_weights = torch.log(vectors[0].square())
    return nodes.to(device), (log_weights - torch.logsumexp(log_weights, dim=0)).to(device)
