"""Random orthonormal axes, for geometries whose rows are drawn together."""

import torch
from torch import Tensor

from randhead import ambient, rng


def axes(count: int, dim: int, *, seed: int, purpose: str) -> Tensor:
    """The first `count` axes of a Haar random rotation of `dim` dimensions: (count, dim) float64, on the CPU.

    Axis i is the part of the i-th Gaussian vector that is orthogonal to those before it.
    """
    gaussian = rng.normals(seed, purpose, ambient.indices(count), dim).to(torch.float64)
    with ambient.threads(1):
        q, r = torch.linalg.qr(gaussian.T)
    # QR of a Gaussian is Haar only after fixing the signs of R's diagonal (Mezzadri 2007).
    return (q * r.diagonal().sign()).T
