"""Mantel's test of several pairs of class similarities with the same permutations, decided in exact integers.

The statistic is Spearman's: the sum of products of the centred ranks of the pairs i < j.  Twice these ranks are whole
numbers below 2^24, exact in float32, and their sum of products is below 2^63 for up to CLASSES classes.  A permutation
is scored in float32, which has a known largest error; only one that is nearer to the observed sum than this error is
summed again in int64.  So rounding decides no comparison, and a permutation that gives the same sum counts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from randhead import rng
from randhead.ambient import indices, settled

CLASSES = 2400  # most: n pairs have a sum of squares of n^3 / 3 at most, and n = K (K - 1) / 2
ROWS = 64  # of a tile, which fits into the cache and serves GROUP permutations: one after the other takes 1.6 times
GROUP = 16
ROUNDING = 2.0**-24  # of one operation in float32


@dataclass(frozen=True)
class Tests:
    """Results of all pairs of S sides and R references.

    Attributes:
        rho: Spearman's correlations (S, R) float64; NaN if a matrix is constant.
        p: one-sided, (1 + better) / (1 + permutations); (S, R) float64.
        summed_again: number of permutations whose sum in float32 did not decide.
    """

    rho: Tensor
    p: Tensor
    summed_again: int

    def of(self, side: int, reference: int) -> tuple[float | None, float | None]:
        """Correlation and p of one pair; None, None if a matrix is constant."""
        rho = self.rho[side, reference].item()
        return (None, None) if math.isnan(rho) else (rho, self.p[side, reference].item())


@settled()
def tests(
    sides: list[Tensor],
    references: list[Tensor],
    *,
    permutations: int,
    seed: int,
    purpose: str,
    advanced: Callable[[int], None],
) -> Tests:
    """Correlate each side with each reference, symmetric matrices (K, K) with K <= CLASSES.

    Permutation s reorders the classes of the sides by rng.permutation(seed, purpose, K, stream=s).  `advanced` is
    called before each permutation, with the number of those that are done, and after the last.
    """
    k = len(sides[0])
    # The fewer matrices are reordered; those of the references by the inverse permutation, which pairs the same cells.
    swapped = len(references) < len(sides)
    moved, fixed = (references, sides) if swapped else (sides, references)
    a = [_twice_centred_ranks(matrix) for matrix in moved]
    b = torch.stack([_twice_centred_ranks(matrix).triu(1) for matrix in fixed], dim=1)
    observed = torch.stack([_exact(ranks, b, indices(k)) for ranks in a])
    length = torch.stack([(_squares(ranks[:, None]) / 2 * _squares(b)).sqrt() for ranks in a])
    margin = (length * (k * ROUNDING * 1.01)).where(length > 0, -1)  # constant ranks have no correlation to test
    better, done, again = torch.zeros_like(observed), 0, 0
    drawn = rng.permutations(seed, purpose, k, range(permutations))
    while group := [*islice(drawn, GROUP)]:
        orders = torch.stack(group).argsort(dim=1) if swapped else torch.stack(group)
        sums = torch.stack([_rounded(ranks, b, orders) for ranks in a], dim=1)
        for order, excess in zip(orders, sums - observed, strict=True):
            advanced(done)
            done += 1
            better += excess > margin
            for i, j in (excess.abs() <= margin).nonzero().tolist():
                better[i, j] += _exact(a[i], b[:, j : j + 1], order)[0] >= observed[i, j]
                again += 1
    advanced(permutations)
    rho, p = observed / length, (1 + better.double()) / (1 + permutations)
    return Tests(rho.T, p.T, again) if swapped else Tests(rho, p, again)


def _twice_centred_ranks(matrix: Tensor) -> Tensor:
    """Twice the ranks of the pairs i < j, ties averaged, minus twice their mean: (K, K) float32, diagonal 0, exact."""
    k = len(matrix)
    upper = torch.triu_indices(k, k, 1, dtype=torch.int64, device="cpu")
    values = matrix.double().cpu()[upper[0], upper[1]]
    _, groups, sizes = values.unique(return_inverse=True, return_counts=True)
    twice = (2 * sizes.cumsum(0) - sizes + 1)[groups]
    out = torch.zeros(k, k, dtype=torch.float32, device="cpu")
    out[upper[0], upper[1]] = (twice - (len(values) + 1)).float()
    return out + out.T


def _squares(matrices: Tensor) -> Tensor:
    """The sum of squares of each matrix: (K, M, K) -> (M,) float64, rounded once."""
    exact = [sum(part.long().square().sum().item() for part in m.split(ROWS)) for m in matrices.unbind(1)]
    return torch.tensor(exact, dtype=torch.float64, device="cpu")


def _rounded(a: Tensor, b: Tensor, orders: Tensor) -> Tensor:
    """The sums of products of a, reordered, with each b: (K, K), (K, B, K), P orders (P, K) -> (P, B) float64.

    Products of rows are summed in float32: relative to the product of the lengths of a and b over i < j, their error is
    below K 2^-24.
    """
    total = torch.zeros(len(orders), b.shape[1], dtype=torch.float64, device="cpu")
    for start in range(0, len(a), ROWS):
        part = b[start : start + ROWS, :, start:]
        tiles = torch.empty(len(orders), len(part), part.shape[2], dtype=torch.float32, device="cpu")
        for order, tile in zip(orders, tiles, strict=True):
            # index_select copies floats of a row four times as fast as plain indexing
            torch.index_select(a.index_select(0, order[start : start + ROWS]), 1, order[start:], out=tile)
        products = torch.bmm(tiles.transpose(0, 1), part.transpose(1, 2))
        total += products.sum(dim=0, dtype=torch.float64)
    return total


def _exact(a: Tensor, b: Tensor, order: Tensor) -> Tensor:
    """The same of one a, (K, K), in whole numbers: (B,) int64."""
    total = torch.zeros(b.shape[1], dtype=torch.int64, device="cpu")
    for start in range(0, len(a), ROWS):
        tile = a.index_select(0, order[start : start + ROWS]).index_select(1, order[start:]).long()
        total += (tile[:, None] * b[start : start + ROWS, :, start:].long()).sum(dim=(0, 2))
    return total
