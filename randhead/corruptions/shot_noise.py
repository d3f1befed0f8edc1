"""Shot noise: Poisson(x c) / c for every pixel and channel.  Hendrycks and Dietterich, ICLR 2019.

A count is the inverse of the Poisson distribution function at a 32-bit uniform number, so that severities share their
random numbers.  A byte gives 256 means: one table per severity has, for every mean and bin of the uniform number, the
grey level below and above the only step of the distribution in that bin.  Bins are those of a floating-point number,
the distance from the nearer end of (0, 1): they become finer towards both ends, as do the steps in the tails.
"""

import numpy as np
import torch
from torch import Tensor

from randhead import ambient, rng
from randhead.corruptions._bytes import shaped

GROUP, ORDER = "noise", 2
SEVERITY_PARAMETERS = {  # photons of a white pixel
    "32": (500, 250, 100, 75, 50),
    "64": (250, 100, 50, 30, 15),
    "224": (60, 25, 12, 5, 3),
}
FRACTION_BITS = 6  # bins per power of two: 2 to this
SHIFT = 23 - FRACTION_BITS  # of a float32's bits
FIRST = (127 << FRACTION_BITS) - 1  # the exponent of 1 is 127; the bin before it holds 0
BINS = (158 << FRACTION_BITS) - FIRST + 1  # distances end at 2^31, exponent 158


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Ranks (B, 3, H, W) int32: the distance from 0 (or, if negative, from 1) in 2^-32, counted from 0 (or -1)."""
    count = 3 * size[0] * size[1]
    words = rng.long_words(seed, "corruptions/shot_noise", ids, -(-count // 2))
    return {"ranks": shaped(words.view(torch.int32)[:, :count], size)}


def apply(images: Tensor, noise: dict[str, Tensor], photons: float) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, counted with `photons` per white pixel."""
    ranks = noise["ranks"]
    upper = ranks < 0
    distance = ranks ^ (ranks >> 31)  # -1 becomes 0, -2 becomes 1
    bins = (distance.to(torch.float32).view(torch.int32) >> SHIFT).sub_(FIRST).clamp_min_(0)
    index = bins.add_(upper * BINS).add_(images.to(torch.int32).mul_(2 * BINS))
    entry = _table(photons, images.device).index_select(0, index.flatten()).view(images.shape)
    return torch.where(distance < (entry >> 16), entry >> 8, entry).to(torch.uint8)


def uniforms(ranks: Tensor) -> Tensor:
    """The uniform numbers in (0, 1), float64, that ranks encode."""
    return (ranks.to(torch.float64) + 0.5) / 2**32 % 1


@ambient.kept(maxsize=6)
def _table(photons: float, device: torch.device) -> Tensor:
    """(256 x 2 x BINS) int64: the distance of the step in a bin, the grey level before it, the grey level after it."""
    most = int(photons + 12 * photons**0.5 + 20)
    grey = torch.from_numpy((np.clip(np.arange(most + 2) / photons, 0, 1) * 255).astype(np.uint8)).to(torch.int64)
    mean = torch.arange(256, dtype=torch.float64, device="cpu")[:, None] * (photons / 255)
    counts = torch.arange(1, most + 1, dtype=torch.float64, device="cpu")[None].expand(256, -1)
    # P(N < k) and P(N >= k), each with full relative precision in its own tail.
    below = torch.special.gammaincc(counts, mean) * 2**32
    above = torch.special.gammainc(counts, mean) * 2**32
    edges = _edges()
    # From 0 upwards the count is the number of k with P(N < k) at most the distance; from 1 downwards, that of k
    # with P(N >= k) above it.
    lower = torch.searchsorted(below.contiguous(), edges.expand(256, -1).contiguous(), right=True)
    upper = most - torch.searchsorted(above.flip(1).contiguous(), edges.expand(256, -1).contiguous(), right=True)
    # A count n ends where P(N < n + 1) begins, and on the other side where P(N >= n) does; column k - 1 belongs to k.
    rows = [_entries(lower, below, lower[:, :-1], grey), _entries(upper, above, upper[:, :-1] - 1, grey)]
    return torch.stack(rows, dim=1).flatten().to(device)


def _edges() -> Tensor:
    """The BINS + 1 borders of the bins, as distances in 2^-32."""
    bits = (torch.arange(BINS + 1, dtype=torch.int32, device="cpu") + FIRST) << SHIFT
    edges = bits.view(torch.float32).to(torch.float64)
    edges[0] = 0
    return edges


def _entries(counts: Tensor, distances: Tensor, column: Tensor, grey: Tensor) -> Tensor:
    """Pack the position at which a bin's count changes: counts (256, BINS + 1) at the borders of the bins."""
    first, last = counts[:, :-1], counts[:, 1:]
    ends = distances.gather(1, column.clamp(0, distances.shape[1] - 1)).sub_(0.5).ceil().to(torch.int64)
    ends = torch.where(first == last, 2**31, ends.clamp(0, 2**31))
    return ends << 16 | grey[first] << 8 | grey[last]
