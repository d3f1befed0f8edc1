"""Tiles, parts and chunks by shape: measured on an H200, not searched at run time.

TFLOP/s of one product, with T classes in a chunk.  `weigh`, whose weights are stored in two halves of a tile:

| B, D, T | 2 programs of 128 x 128 | 128 x 256 | 256 x 128, stored at once | cuBLAS, product alone |
|---|---|---|---|---|
| 1,024, 512, 21,120 | 523 | 451 | 421 | 544 |
| 4,096, 512, 16,896 | 571 | 574 | 457 | 660 |
| 1,024, 2,048, 8,448 | 698 | 698 | 570 | 759 |
| 4,096, 2,048, 8,448 | 741 | 772 | 671 | 768 |

`add`, whose sums the copy engine adds:

| B, D, T | 128 x 128 | 128 x 256 | cuBLAS, without adding |
|---|---|---|---|
| 1,024, 512, 21,120 | 602 in 4 parts | 608 in 8 parts, twice the memory | 657 |
| 4,096, 512, 16,896 | 756 in 1 part | 802 in 2 parts | 847 |
| 1,024, 2,048, 8,448 | 697 in 1 part | 710 in 2 parts | 801 |
| 4,096, 2,048, 8,448 | 697 in 1 part | 820 in 1 part | 889 |

At B = 2,048 128 x 256 for both takes 6.8 ms for a million classes, 128 x 128 7.2; at B = 1,024 `add` with 128 x 256
takes 4.0 instead of 4.1, but 8 MB more than there are.

Chunks: at B = 1,024, D = 512 and a million classes 5 waves of tiles take 4.3 ms, 4 waves 4.5, 3 waves 4.9, 1 wave
6.8; at B = 4,096 24 waves take 12.5 ms, 16 waves 13.0, 8 waves 14.7, 4 waves 17.3.  Rows drawn while the products of
the chunk before run: at B = 4,096 13.2 instead of 13.4 ms (rademacher), 14.0 instead of 15.6 (uniform), 15.0 instead of
15.6 (gaussian); at D = 2,048 no difference, and at B = 1,024 the second space costs more than it saves.
"""

from typing import NamedTuple

from randhead.losses.kernels.products import Tile

SMALL_BATCH, LARGE_BATCH = 1024, 2048
NARROW = 1024  # dimensions
WORKSPACE_BYTES = 66_000_000  # rows and weights of a chunk: a step of SMALL_BATCH samples takes less than 100 MB
LARGE_WORKSPACE_BYTES = 240_000_000  # of larger batches
MOST_PARTS = 8  # of a sum, if that is not needed to give every multiprocessor a tile
TOLERATED = 0.02  # share of the multiprocessors that may be idle in return for fewer parts or a longer chunk


class Plan(NamedTuple):
    """How a sweep is cut.

    Attributes:
        weigh: tile of queries @ rows.T.
        add: tile of weights @ rows.
        parts: number of parts of the sum over a chunk's classes.
        chunk: number of classes at once.
        ahead: whether rows are drawn while the products of the chunk before run.
    """

    weigh: Tile
    add: Tile
    parts: int
    chunk: int
    ahead: bool = False


def plan(batch: int, dim: int, processors: int) -> Plan:
    """The plan for a batch of B samples of D dimensions on that many multiprocessors."""
    weigh, add = _tiles(batch)
    parts, chunk = _parts(_tiles_of(batch, dim, add), processors), _chunk(batch, dim, weigh, processors)
    return Plan(weigh, add, parts, chunk, batch > LARGE_BATCH and dim <= NARROW)


def _tiles(batch: int) -> tuple[Tile, Tile]:
    if batch <= 64:
        return Tile(64, 256, warps=4, stages=3), Tile(64, 256, warps=4)
    if batch < LARGE_BATCH:
        return Tile(128, 128, warps=4, stages=3, resident=2), Tile(128, 128, warps=4)
    return Tile(128, 256), Tile(128, 256)


def _tiles_of(height: int, width: int, tile: Tile) -> int:
    return -(-height // tile.rows) * -(-width // tile.columns)


def _busy(tiles: int, processors: int) -> float:
    """The share of the multiprocessors' time that so many tiles use."""
    return tiles / (-(-tiles // processors) * processors)


def _parts(tiles: int, processors: int) -> int:
    """The smallest number of parts that keeps nearly as many multiprocessors busy as any."""
    busy = {parts: _busy(tiles * parts, processors) for parts in range(1, max(processors // tiles, MOST_PARTS) + 1)}
    return min(parts for parts, share in busy.items() if share >= max(busy.values()) - TOLERATED)


def _chunk(batch: int, dim: int, tile: Tile, processors: int) -> int:
    """Number of classes: as many whole waves of tiles as fit into the workspace, nearly none with idle programs."""
    most = (WORKSPACE_BYTES if batch <= SMALL_BATCH else LARGE_WORKSPACE_BYTES) // (2 * (batch + dim)) // tile.columns
    down, programs = -(-batch // tile.rows), processors * tile.resident
    along = [waves * programs // down for waves in range(1, most * down // programs + 1)]
    busy = {n: _busy(n * down, programs) for n in along if 0 < n <= most}
    if not busy:
        return max(most, 1) * tile.columns
    return max(n for n, share in busy.items() if share >= max(busy.values()) - TOLERATED) * tile.columns
