"""The best classes per query among any number of classes, in tiles: exact, O(B k) memory in addition to one tile."""

from collections.abc import Iterator

import torch
from torch import Tensor

from randhead.losses._rows import ClassRows
from randhead.losses._tiles import row_tiles

TILE_LOGITS = 1 << 20  # at once
SMALLEST_TILE = 64  # classes


@torch.no_grad()
def top(queries: Tensor, rows: ClassRows, bias: Tensor | None, *, k: int) -> tuple[Tensor, Tensor]:
    """The k best classes per query, best first, ties by class index.

    Args:
        queries: embedded, scaled features (B, D).
        rows: K class vectors.
        bias: learned bias (K,).
        k: number of classes, at most K.

    Returns:
        Classes (B, k) int64 and their logits (B, k).
    """
    best = Best(queries, min(k, rows.num_classes))
    for start, tile in tiles(queries, rows):
        logits = queries @ tile.T
        best.add(logits if bias is None else logits + bias[start : start + len(tile)], start)
    return best.classes, best.logits


def tiles(queries: Tensor, rows: ClassRows) -> Iterator[tuple[int, Tensor]]:
    """All class vectors in tiles (T, D), each with its first class, with at most TILE_LOGITS logits if possible.

    A tile is valid until the next one is requested.
    """
    size = max(TILE_LOGITS // max(len(queries), rows.dim), SMALLEST_TILE)
    return row_tiles(rows, size, queries.dtype)


class Best:
    """The k best classes seen so far: classes (B, k) int64 and logits (B, k), best first."""

    def __init__(self, queries: Tensor, k: int):
        self.logits = queries.new_full((len(queries), k), -torch.inf)
        self.classes = torch.zeros(len(queries), k, dtype=torch.int64, device=queries.device)

    def add(self, logits: Tensor, start: int) -> None:
        """Add classes start..start+T-1, all later than those added before: logits (B, T)."""
        # A later class that only ties with the worst of the best comes after it.  A NaN is better than a number.
        if self.logits.shape[1] == 1:  # without a wait for the device
            found, columns = logits.max(dim=1, keepdim=True)  # the first of those that tie
            is_better = ~(found <= self.logits)
            self.logits = torch.where(is_better, found, self.logits)
            self.classes = torch.where(is_better, columns + start, self.classes)
            return
        better = (~(logits.amax(dim=1) <= self.logits[:, -1])).nonzero()[:, 0]
        if len(better):
            found, columns = _best(logits[better], self.logits.shape[1])
            merged = _merge(self.logits[better], self.classes[better], found, columns + start)
            self.logits[better], self.classes[better] = merged


def _best(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best columns, ties by column: (N, T) -> values (N, k'), columns (N, k')."""
    k = min(k, logits.shape[1])
    values, columns = logits.topk(k, dim=1)
    # topk may give any of the columns that tie with its last value.
    tied = ((logits == values[:, -1:]).sum(dim=1) > (values == values[:, -1:]).sum(dim=1)).nonzero()[:, 0]
    if len(tied):
        exact, order = logits[tied].sort(dim=1, descending=True, stable=True)
        values[tied], columns[tied] = exact[:, :k], order[:, :k]
    return values, columns


def _merge(values: Tensor, classes: Tensor, more: Tensor, more_classes: Tensor) -> tuple[Tensor, Tensor]:
    """The best k of two lists, by value, ties by class."""
    k = values.shape[1]
    values, classes = torch.cat((values, more), dim=1), torch.cat((classes, more_classes), dim=1)
    order = classes.argsort(dim=1, stable=True)
    values, classes = values.gather(1, order), classes.gather(1, order)
    values, order = values.sort(dim=1, descending=True, stable=True)
    return values[:, :k], classes.gather(1, order)[:, :k]
