"""Cosines between all pairs of a set of vectors, in tiles: O(M^2 D) time, O(M D) memory."""

from collections.abc import Iterator

from torch import Tensor

from randhead.arguments import check_type
from randhead.errors import UsageError

ROWS = 1024  # of a tile


def cosine_tiles(directions: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Cosines between all pairs of unit vectors, in tiles of rows.

    Args:
        directions: unit vectors (M, D).

    Yields:
        The index of a tile's first row, and its cosines to all M vectors (T, M), within [-1, 1].

    Example:
        >>> import torch
        >>> [(start, tile.shape) for start, tile in cosine_tiles(torch.eye(3))]
        [(0, torch.Size([3, 3]))]
    """
    check_type("directions", directions, Tensor, "a tensor")
    if directions.ndim != 2 or not directions.is_floating_point():
        raise UsageError(f"directions must be unit vectors (M, D), got {directions.dtype} {tuple(directions.shape)}")
    for start in range(0, len(directions), ROWS):
        yield start, (directions[start : start + ROWS] @ directions.T).clamp_(-1, 1)
