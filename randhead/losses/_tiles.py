"""Tiles of class vectors for a sweep over all classes: each gives the logits of its classes and sums weighted rows."""

from collections.abc import Iterator

import torch
from torch import Tensor

from randhead.losses._rows import ClassRows, DrawnRows
from randhead.vectors import Tile

TILE_ENTRIES = 1 << 20  # of a tile of rows; 512 to 8192 rows were equally fast
LARGEST_TILE = 2048  # rows
SMALLEST_TILE = 64


class MatrixTile:
    """Rows (T, D) in memory, divided by their row scale."""

    def __init__(self, rows: Tensor):
        self.rows = rows
        self.classes = len(rows)

    def logits(self, queries: Tensor, out: Tensor) -> Tensor:
        """The product queries @ rows.T in the dtype of `out`: (B, D) -> (B, T), which the caller may overwrite."""
        if queries.dtype == out.dtype:
            return torch.mm(queries, self.rows.T, out=out)
        return out.copy_(queries @ self.rows.T)

    def add(self, out: Tensor, weights: Tensor) -> None:
        """Add weights (B, T) @ rows to `out` (B, D), the weights rounded to the dtype of the rows."""
        if out.dtype == self.rows.dtype:
            out.addmm_(weights, self.rows)
        else:
            out += weights.to(self.rows.dtype) @ self.rows


def tiles(rows: ClassRows, batch: int, precision: torch.dtype) -> Iterator[tuple[int, Tile]]:
    """All class vectors in tiles, each with its first class.  A tile is valid until the next one is requested."""
    if isinstance(rows, DrawnRows) and rows.names is None and (fast := rows.geometry.fast_tiles):
        row_scale = rows.row_scale(precision)
        yield from fast(rows.draw, rows.num_classes, rows.dim, row_scale=row_scale, dtype=precision, device=rows.device)
        return
    size = max(min(TILE_ENTRIES // max(rows.dim, batch), LARGEST_TILE), SMALLEST_TILE)
    for start, part in row_tiles(rows, size, precision):
        yield start, MatrixTile(part)


def row_tiles(rows: ClassRows, size: int, dtype: torch.dtype) -> Iterator[tuple[int, Tensor]]:
    """All class vectors divided by their row scale, `size` at a time: tiles (T, D), each with its first class.

    A tile is valid until the next one is requested: new memory for each would cost 5 percent of a sweep's time, in page
    faults.
    """
    space = torch.empty(min(size, rows.num_classes), rows.dim, dtype=torch.float32, device=rows.device)
    for start in range(0, rows.num_classes, size):
        yield start, rows.tile(start, min(start + size, rows.num_classes), dtype, space)
