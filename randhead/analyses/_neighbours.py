"""Nearest neighbours by cosine, exact in float64 and found with products in float32, a tile of queries at a time.

The order of neighbours is total: by cosine in float64, rounded to a multiple of 2^-36 so that equal features tie in
spite of rounding errors in float64, then by index.  A float32 product x.y in n dimensions, in any order of summation,
is within gamma_n |x| |y| of its value, gamma_n = n u / (1 - n u) with u = 2^-24 (Higham 2002, "Accuracy and Stability
of Numerical Algorithms", section 3.1), and the rounding of unit vectors to float32 changes it by 2u + u^2 at most.  So
two cosines in float32 that differ by more than twice that bound, and a step of the grid, are in the order of float64.
Those that are closer, and whose order matters, are computed again in float64.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from randhead import ambient
from randhead.analyses._inputs import check_finite, unit
from randhead.errors import UsageError

TILE = 1 << 23  # cosines in memory at once: 32 MiB
ROWS = 512  # most queries of a tile: with fewer than 256, a product takes longer
GRID = 1 << 36
INDICES = 1 << 26  # a cosine on its grid, or in float32, and an index share 63 bits
GROUPS = 3  # groups of candidates per neighbour: with more, fewer candidates and longer to find the groups' maxima
EXACT = 256  # products in float64 at once: their rows stay in the cache
SHARE = 40  # with more than 1 / SHARE of a tile in doubt, its whole product in float64 takes less time
EXCLUDED = -torch.inf  # the cosine of what is not searched


class Gallery:
    """Features (G, D) among which neighbours are searched."""

    def __init__(self, features: Tensor):
        check_finite(features)
        if len(features) >= INDICES:
            raise UsageError(f"a gallery holds fewer than {INDICES} features, got {len(features)}")
        self.directions = unit(features.detach())
        self.rounded = self.directions.float()
        self.doubt = doubt(features.shape[1])
        self.rows = max(1, min(ROWS, TILE // max(1, len(features))))
        self.tile = self.rounded.new_empty(0)
        self.doubtful = False  # whether most of the last tile had to be computed again

    def nearest(
        self,
        queries: Tensor,
        k: int,
        *,
        excluded: Tensor | None = None,
        matters: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """The k nearest per query, nearest first: (B, D) -> (B, k) int64 indices, never `excluded` (B,).

        Args:
            queries: (B, D).
            k: number of neighbours, at most as many as there are.
            excluded: one index per query (B,).
            matters: takes indices (B, C), C >= k, and says whether the order of each and the next matters (B, C - 1).
                Neighbours may be in any order otherwise.  By default the order of all k matters.
        """
        if queries.shape[1] != self.directions.shape[1]:
            dims = f"{queries.shape[1]} and {self.directions.shape[1]}"
            raise UsageError(
                f"queries and gallery must have the same width, got {dims}", hint="compare runs of the same width"
            )
        exact = unit(queries.detach())
        cosines = exact @ self.directions.T if self.doubtful else self._cosines(exact.float())
        near = cosines.float()
        if excluded is not None:
            near.scatter_(1, excluded[:, None], EXCLUDED)
        values, indices = _unpacked(_sorted(_candidates(near, k, self.doubt)))
        close = values[:, :-1] - values[:, 1:] <= self.doubt
        last = ambient.indices(close.shape[1], close.device) + 1
        important = (last <= k).expand_as(close)
        if matters is not None:  # which are the k nearest always does
            important = important & matters(indices) | (last == k)
        rows = (close & important).any(dim=1).nonzero().flatten()
        if len(rows):
            unsure = _unsure(values[rows], important[rows], self.doubt)
            found = self._exact(exact, cosines, rows, indices[rows], unsure)
            indices[rows] = _in_order(values[rows].double().masked_scatter_(unsure, found), indices[rows])
        return indices[:, :k]

    def _cosines(self, queries: Tensor) -> Tensor:
        """Cosines (B, G) in float32, in memory that the next call uses again: new pages take longer."""
        shape = (len(queries), len(self.rounded))
        if len(self.tile) < shape[0] * shape[1]:
            self.tile = self.rounded.new_empty(shape[0] * shape[1])
        with ambient.whole_float32(queries.device):
            return torch.mm(queries, self.rounded.T, out=self.tile[: shape[0] * shape[1]].view(shape))

    def _exact(self, queries: Tensor, cosines: Tensor, rows: Tensor, indices: Tensor, unsure: Tensor) -> Tensor:
        """Cosines in float64 of some rows of queries and of those of their indices (R, C) that are `unsure`."""
        places, columns = unsure.nonzero(as_tuple=True)
        asking, asked = rows[places], indices[places, columns]
        if self.doubtful:
            return cosines[asking, asked]
        self.doubtful = _many(len(asking), len(queries), len(self.directions))
        return products(queries, self.directions, asking, asked)


def products(a: Tensor, b: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The products of a few pairs of rows of a (A, D) and of b (B, D), float64: indices (P,), (P,) -> (P,)."""
    if _many(len(rows), len(a), len(b)):
        return (a @ b.T)[rows, columns]
    parts = zip(rows.split(EXACT), columns.split(EXACT), strict=True)
    return torch.cat([torch.linalg.vecdot(a.index_select(0, i), b.index_select(0, j)) for i, j in parts])


def _many(pairs: int, rows: int, columns: int) -> bool:
    return pairs * SHARE > rows * columns


def doubt(dim: int) -> float:
    """Cosines in float32 of vectors in `dim` dimensions that differ by more are in the order of float64 on its grid.

    Twice the error of a product, one step of the grid, and a rounding of the difference.
    """
    roundings = (dim + 4) * 2.0**-24
    return 2 * roundings / (1 - roundings) + 1 / GRID + 2.0**-22 if roundings < 0.5 else 4.0


def _candidates(cosines: Tensor, k: int, doubt: float) -> Tensor:
    """The packed keys (B, C), unsorted, of all that may be among the k nearest by cosines (B, G).

    The k-th largest of the maxima of groups is at most the k-th largest cosine: nothing that is further below it than
    the doubt is among the k nearest.
    """
    count, size = cosines.shape
    members = size // (GROUPS * k) if k else 1
    if members < 2:
        return _packed(cosines, ambient.indices(size, cosines.device))
    whole = size // members * members
    largest = cosines[:, :whole].unflatten(1, (members, -1)).amax(dim=1)
    # NumPy finds a rank in half of torch's time, and few values among many in a quarter
    limit = torch.from_numpy(np.partition(largest.cpu().numpy(), -k, axis=1)[:, -k, None]).to(cosines.device) - doubt
    found = torch.from_numpy(np.flatnonzero((cosines >= limit).cpu().numpy())).to(cosines.device)
    rows = found // size
    counts = torch.bincount(rows, minlength=count)
    most = int(counts.max()) if count else k
    starts = ambient.indices(count, found.device) * most - (counts.cumsum(dim=0) - counts)
    places = starts.index_select(0, rows).add_(ambient.indices(len(found), found.device))
    keys = _packed(cosines.new_full((count, most), EXCLUDED), ambient.indices(1, found.device))
    packed = _packed(cosines.flatten().index_select(0, found), found - rows * size)
    return keys.flatten().scatter_(0, places, packed).view(count, most)


def _packed(values: Tensor, indices: Tensor) -> Tensor:
    """Values in float32 and indices as one int64: ascending keys are descending values, ties by index."""
    bits = values.view(torch.int32)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (~ordered).long().mul_(INDICES).add_(indices)


def _unpacked(keys: Tensor) -> tuple[Tensor, Tensor]:
    """The values in float32 and the indices of packed keys."""
    ordered = ~(keys >> 26).int()
    return (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(torch.float32), keys & (INDICES - 1)


def _sorted(keys: Tensor) -> Tensor:
    """Keys (B, C) in ascending order per row: NumPy takes a fifth of torch's time, which also sorts indices."""
    return torch.from_numpy(np.sort(keys.cpu().numpy(), axis=1)).to(keys.device)


def _unsure(values: Tensor, important: Tensor, doubt: float) -> Tensor:
    """Which values (B, C), largest first, are too close to one from which an important link (B, C - 1) parts them."""
    above = values[:, :-1].masked_fill(~important, torch.inf).cummin(dim=1).values  # the last one before the link
    below = values[:, 1:].masked_fill(~important, -torch.inf).flip(1).cummax(dim=1).values.flip(1)
    unsure = torch.zeros_like(values, dtype=torch.bool)
    unsure[:, 1:] = above - values[:, 1:] <= doubt
    unsure[:, :-1] |= values[:, :-1] - below <= doubt
    return unsure


def _in_order(values: Tensor, indices: Tensor) -> Tensor:
    """Indices (B, C) by their values in float64 on the grid, largest first, then by index."""
    on_grid = values.clamp_min_(-1.5).mul_(GRID).round_().long()
    return _sorted(on_grid.neg_().mul_(INDICES).add_(indices)) & (INDICES - 1)
