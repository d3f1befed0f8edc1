"""From exact integers to unit vectors, with the same roundings on every device, a cache's fill at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

PART = 1 << 17  # entries worked on at once by a CPU: a core's cache holds them


def parts(out: Tensor, drawn: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Some rows of `out` (N, D) and what was drawn for them, until there are no more."""
    size = max(PART // out.shape[1], 1) if out.device.type == "cpu" else max(len(out), 1)
    return zip(out.split(size), drawn.split(size), strict=True)


def unit_(entries: Tensor, *, largest: int | None = None) -> Tensor:
    """Divide rows by their norm, in place: (N, D) float32.  A row of zeros becomes the first axis.

    The entries are integers, or integers over a power of two, of so few bits that sums of their squares are exact in
    float64.  Integers of magnitude `largest` at most may be summed in float32.
    """
    exact = torch.float32 if largest is not None and entries.shape[1] * largest**2 < 1 << 24 else torch.float64
    wide = entries.to(exact)
    # The sum is exact, so the only roundings are IEEE's, and every device makes the same ones.
    squared = torch.linalg.vecdot(wide, wide).to(torch.float64)
    zero = squared == 0
    entries[:, 0] += zero
    return entries.mul_((1 / (squared + zero).sqrt()).to(torch.float32)[:, None])
