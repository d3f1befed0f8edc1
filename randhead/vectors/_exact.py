"""From exact integers to unit vectors, with the same roundings on every device, in parts that fit in a cache."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from randhead.arguments import whole

PART = 1 << 17  # entries that a CPU processes at once: they fit in the cache of a core


def sign_entry(dim: int) -> float:
    """The size of the entries of rows of signs: 1/sqrt(D), rounded to float32.

    Args:
        dim: D.

    Returns:
        The entry.

    Example:
        >>> sign_entry(16)
        0.25
    """
    return float(np.float32(1 / math.sqrt(whole("dim", dim, 1))))


def parts(out: Tensor, drawn: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The rows of `out` (N, D) and the entries drawn for them, part by part."""
    size = max(PART // out.shape[1], 1) if out.device.type == "cpu" else max(len(out), 1)
    return zip(out.split(size), drawn.split(size), strict=True)


def unit_(entries: Tensor, *, largest: int | None = None) -> Tensor:
    """Divide rows by their norm, in place: (N, D) float32.  A row of zeros becomes the first axis.

    The entries are integers, or integers divided by a power of two, with so few bits that sums of their squares are
    exact in float64.  Integers of magnitude up to `largest` may be summed in float32.
    """
    exact = torch.float32 if largest is not None and entries.shape[1] * largest**2 < 1 << 24 else torch.float64
    wide = entries.to(exact)
    # The sum is exact, so the only roundings are those of IEEE 754, the same on every device.
    squared = torch.linalg.vecdot(wide, wide).to(torch.float64)
    zero = squared == 0
    entries[:, 0] += zero
    return entries.mul_((1 / (squared + zero).sqrt()).to(torch.float32)[:, None])
