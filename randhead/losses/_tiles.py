"""Tiles of class vectors for a sweep over all classes: each computes the logits of its classes and sums weighted rows.

Hadamard rows come in blocks of D classes, W = H_D diag(s)/sqrt(D) with random signs s, so a fast transform replaces
both products.  With H_D = H_a x H_b (a Kronecker product, a and b near sqrt(D)) it is two small products:
96 flop per logit instead of 1,024 at D = 512, and 4.8 times as fast on a CPU, drawing included.
"""

import functools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from randhead.losses._rows import ClassRows, DrawnRows

TILE_ENTRIES = 1 << 20  # of a tile of rows; 512 to 8192 rows were equally fast
LARGEST_TILE = 2048  # rows
SMALLEST_TILE = 64
HADAMARD_TILE = 512  # the intermediate results of its transform fit in a core's cache
DRAWN_BLOCKS = 64  # the fixed cost of drawing is 1.5 ms


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


class HadamardTile:
    """Whole blocks of Hadamard rows, given by their signs (N, D); the last may hold fewer than D classes."""

    def __init__(self, signs: Tensor, classes: int):
        self.signs = signs
        self.classes = classes

    def logits(self, queries: Tensor, out: Tensor) -> Tensor:
        """As `MatrixTile.logits`, by transforms in the dtype of `out`."""
        signed = queries.to(out.dtype)[:, None] * self.signs
        return transform(signed).flatten(1)[:, : self.classes]

    def add(self, out: Tensor, weights: Tensor) -> None:
        """As `MatrixTile.add`."""
        blocks, dim = self.signs.shape
        whole = torch.nn.functional.pad(weights, (0, blocks * dim - self.classes))
        out += (transform(whole.view(-1, blocks, dim)) * self.signs).sum(dim=1)


Tile = MatrixTile | HadamardTile


def tiles(rows: ClassRows, batch: int, precision: torch.dtype) -> Iterator[tuple[int, Tile]]:
    """All class vectors in tiles, each with its first class.  A tile is valid until the next one is requested."""
    if isinstance(rows, DrawnRows) and rows.geometry == "hadamard" and rows.names is None:
        yield from _hadamard_tiles(rows, precision)
        return
    size = max(min(TILE_ENTRIES // max(rows.dim, batch), LARGEST_TILE), SMALLEST_TILE)
    for start, part in row_tiles(rows, size, precision):
        yield start, MatrixTile(part)


def row_tiles(rows: ClassRows, size: int, dtype: torch.dtype) -> Iterator[tuple[int, Tensor]]:
    """All class vectors divided by their row scale, `size` at a time: tiles (T, D), each with its first class.

    A tile is valid until the next one is requested: new memory for each would cost 5 percent of a sweep's time, in page
    faults.
    """
    space = torch.empty(min(size, rows.num_classes), rows.dim, device=rows.device)
    for start in range(0, rows.num_classes, size):
        yield start, rows.tile(start, min(start + size, rows.num_classes), dtype, space)


def _hadamard_tiles(rows: DrawnRows, precision: torch.dtype) -> Iterator[tuple[int, Tile]]:
    """Tiles of at least HADAMARD_TILE classes; the signs of many blocks are drawn at once."""
    wide, k, dim = torch.promote_types(precision, torch.float32), rows.num_classes, rows.dim
    blocks = max(HADAMARD_TILE // dim, 1)
    for first in range(0, k, DRAWN_BLOCKS * dim):
        # Row 0 of H_D is all ones: the first row of a block is its signs.
        ids = torch.arange(first, min(first + DRAWN_BLOCKS * dim, k), dim, device=rows.device)
        signs = (rows.draw(ids) / rows.row_scale(precision)).to(wide)
        for start, part in zip(ids[::blocks].tolist(), signs.split(blocks), strict=True):
            yield start, HadamardTile(part, min(len(part) * dim, k - start))


def transform(x: Tensor) -> Tensor:
    """The product x @ H_D, D a power of two: (..., D) -> (..., D)."""
    dim = x.shape[-1]
    outer = 1 << (dim.bit_length() - 1) // 2
    inner = dim // outer
    along = x.reshape(-1, inner) @ sylvester(inner, x.dtype, x.device)
    return (sylvester(outer, x.dtype, x.device) @ along.view(-1, outer, inner)).view(x.shape)


@functools.lru_cache(maxsize=64)
def sylvester(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Sylvester's Hadamard matrix, symmetric, of entries +-1: (size, size)."""
    pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=dtype, device=device)
    found = torch.ones(1, 1, dtype=dtype, device=device)
    for _ in range(int(math.log2(size))):
        found = torch.kron(pair, found)
    return found
