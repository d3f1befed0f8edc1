"""From exact integers to unit vectors, with the same roundings on every device."""

import torch
from torch import Tensor


def unit(entries: Tensor) -> Tensor:
    """Rows of integers below 2^24, none of them zero: (N, D) int64 -> (N, D) float32 of unit norm."""
    squared = entries.square().sum(dim=1, keepdim=True)
    # The sum is an exact integer, so the only roundings are IEEE's, and every device makes the same ones.
    inverse = 1 / squared.to(torch.float64).sqrt()
    return entries.to(torch.float32) * inverse.to(torch.float32)
