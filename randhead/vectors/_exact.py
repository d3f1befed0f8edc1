"""From exact integers to unit vectors, with the same roundings on every device."""

import torch
from torch import Tensor

PART = 1 << 17  # entries squared at once: a core's cache holds them


def unit(entries: Tensor, *, largest: int | None = None) -> Tensor:
    """Rows that are not all zero, over their norm: (N, D) float32, which is written over, -> (N, D) of unit norm.

    The entries are integers, or integers over a power of two, of so few bits that sums of their squares are exact in
    float64.  Integers of magnitude `largest` at most may be summed in float32.
    """
    exact = torch.float32 if largest is not None and entries.shape[1] * largest**2 < 1 << 24 else torch.float64
    parts = (part.to(exact, copy=True) for part in entries.split(max(PART // entries.shape[1], 1)))
    squared = torch.cat([part.square_().sum(dim=1, keepdim=True).to(torch.float64) for part in parts])
    # The sum is exact, so the only roundings are IEEE's, and every device makes the same ones.
    return entries.mul_((1 / squared.sqrt()).to(torch.float32))
