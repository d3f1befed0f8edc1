"""The best classes of a query among any number of them, in tiles: exact, O(B k) beside one tile."""

import torch
from torch import Tensor

from randhead.losses._rows import Rows

TILE_LOGITS = 1 << 20  # at once


@torch.no_grad()
def top(queries: Tensor, rows: Rows, bias: Tensor | None, *, k: int) -> tuple[Tensor, Tensor]:
    """The k best classes, best first, ties by class index: queries (B, D) -> classes (B, k) int64, logits (B, k)."""
    k = min(k, rows.num_classes)
    values = queries.new_full((len(queries), k), -torch.inf)
    classes = torch.zeros(len(queries), k, dtype=torch.int64, device=queries.device)
    size = max(TILE_LOGITS // max(len(queries), rows.dim), 64)
    for start in range(0, rows.num_classes, size):
        stop = min(start + size, rows.num_classes)
        logits = queries @ rows.tile(start, stop, queries.dtype).T
        logits = logits if bias is None else logits + bias[start:stop]
        # A later class that only ties with the worst of the best comes after it.
        better = (logits.amax(dim=1) > values[:, -1]).nonzero()[:, 0]
        if len(better):
            found, where = _best(logits[better], k)
            values[better], classes[better] = _merge(values[better], classes[better], found, where + start)
    return classes, values


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


def _merge(values: Tensor, classes: Tensor, found: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """The best k of two lists, by value and then by class."""
    k = values.shape[1]
    values, classes = torch.cat((values, found), dim=1), torch.cat((classes, others), dim=1)
    order = classes.argsort(dim=1, stable=True)
    values, classes = values.gather(1, order), classes.gather(1, order)
    values, order = values.sort(dim=1, descending=True, stable=True)
    return values[:, :k], classes.gather(1, order)[:, :k]
