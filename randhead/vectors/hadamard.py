"""Rows of a Hadamard matrix with random signs: W_k = H_D[k mod D] * s_b / sqrt(D), where b = k // D is the block of k.

Sylvester's H_D has the sign of popcount(r & c) at row r, column c; a fast transform gives the D logits of a block in
D log D operations.  Rows of a block are orthogonal; cosines between blocks are those of random signs.

No two rows are ever equal or opposite.  Two blocks have a row in common, up to sign, exactly if s_a * s_b is a row of
H_D up to sign, that is, if s_a and s_b are in the same coset of the first-order Reed-Muller code.  Each coset has one
word that is plus at the columns 0, 1, 2, 4, 8, ...; its other columns encode the block's number, scrambled by a
bijection.  s_b is this word times a random word of the code.  From D = 64 up every 63-bit id has its own row; below,
all 2^(D-1) corners of the cube (up to sign) are used.  Truncated Hadamard matrices, in contrast, repeat rows (488 of
1,000 at D = 512).

As W = H_D diag(s)/sqrt(D) for a block of D classes, a fast transform replaces both products of a sweep over all
classes.  With H_D = H_a x H_b (a Kronecker product, a and b near sqrt(D)) it is two small products: 96 flop per logit
instead of 1,024 at D = 512, and 4.8 times as fast on a CPU, drawing included.

D must be a power of two.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from randhead import ambient, rng
from randhead.errors import UsageError
from randhead.vectors._exact import sign_entry

BY_ROW = True
INDEPENDENT = False  # rows of a block are orthogonal
SIGNS = True
PURPOSE = "vectors/hadamard"

TILE = 512  # classes: the intermediate results of the transform fit in a core's cache
DRAWN_BLOCKS = 64  # at once: the fixed cost of drawing is 1.5 ms


def rows(ids: Tensor, dim: int, *, seed: int, out: Tensor) -> None:
    """Hadamard rows with the signs of their block: ids (N,) int64, written to `out` (N, dim), entries +-1/sqrt(dim)."""
    blocks, block_of = torch.unique(ids // dim, return_inverse=True)
    negative = walsh(ids % dim, dim) ^ signs(blocks, dim, seed=seed)[block_of]
    entry = sign_entry(dim)
    out.copy_(torch.tensor([entry, -entry], dtype=torch.float32, device=ids.device)[negative.long()])


def signs(blocks: Tensor, dim: int, *, seed: int) -> Tensor:
    """The sign diagonals of blocks of `dim` classes: (N,) int64 -> (N, dim) int8, 1 if the sign is minus."""
    pivots, free = _columns(dim)
    length = min(len(free), 64 - len(pivots))  # the block number of a 63-bit id has 63 - log2(D) bits
    drawn = rng.bits(seed, PURPOSE, blocks, dim)
    code_word = walsh((drawn[:, pivots[1:]] << ambient.indices(len(pivots) - 1, blocks.device)).sum(dim=1), dim)
    code_word ^= drawn[:, :1].to(torch.int8)
    coset = drawn.to(torch.int8)
    coset[:, pivots] = 0
    number = _scramble(blocks, length, seed)[:, None]
    coset[:, free[:length]] = ((number >> ambient.indices(length, blocks.device)) & 1).to(torch.int8)
    return coset ^ code_word


def walsh(index: Tensor, dim: int) -> Tensor:
    """Rows of the Hadamard matrix: index (N,) int64 in [0, dim) -> (N, dim) int8, 1 if the entry is -1."""
    row = torch.zeros(len(index), 1, dtype=torch.int8, device=index.device)
    for bit in range(dim.bit_length() - 1):
        row = torch.cat((row, row ^ ((index[:, None] >> bit) & 1).to(torch.int8)), dim=1)
    return row


def limit(dim: int) -> int | None:
    """2^(D-1) below 64 dimensions, any number from there.  Raises UsageError if D is not a power of two."""
    if dim & (dim - 1):
        below = 1 << (dim.bit_length() - 1)
        raise UsageError(
            f"hadamard vectors need a power of two for their dimension, got {dim}",
            hint=f"use {below} or {2 * below} dimensions, or rademacher: random signs in any dimension",
        )
    return 1 << (dim - 1) if dim < 64 else None


class HadamardTile:
    """Whole blocks of Hadamard rows, given by their signs (N, D); the last may hold fewer than D classes."""

    def __init__(self, signs: Tensor, classes: int):
        self.signs = signs
        self.classes = classes

    def logits(self, queries: Tensor, out: Tensor) -> Tensor:
        """As `Tile.logits`, by transforms in the dtype of `out`."""
        signed = queries.to(out.dtype)[:, None] * self.signs
        return transform(signed).flatten(1)[:, : self.classes]

    def add(self, out: Tensor, weights: Tensor) -> None:
        """As `Tile.add`."""
        blocks, dim = self.signs.shape
        whole = torch.nn.functional.pad(weights, (0, blocks * dim - self.classes))
        out += (transform(whole.view(-1, blocks, dim)) * self.signs).sum(dim=1)


def fast_tiles(
    draw: Callable[[Tensor], Tensor],
    num_classes: int,
    dim: int,
    *,
    row_scale: float,
    dtype: torch.dtype,
    device: torch.device,
) -> Iterator[tuple[int, HadamardTile]]:
    """All rows, keyed by index, in tiles of at least TILE classes, each with its first class.

    The signs of many blocks are drawn at once.
    """
    wide, blocks = torch.promote_types(dtype, torch.float32), max(TILE // dim, 1)
    for first in range(0, num_classes, DRAWN_BLOCKS * dim):
        # Row 0 of H_D is all ones: the first row of a block is its signs.
        ids = torch.arange(first, min(first + DRAWN_BLOCKS * dim, num_classes), dim, dtype=torch.int64, device=device)
        signs = (draw(ids) / row_scale).to(wide)
        for start, part in zip(ids[::blocks].tolist(), signs.split(blocks), strict=True):
            yield start, HadamardTile(part, min(len(part) * dim, num_classes - start))


def transform(x: Tensor) -> Tensor:
    """The product x @ H_D, D a power of two: (..., D) -> (..., D)."""
    dim = x.shape[-1]
    outer = 1 << (dim.bit_length() - 1) // 2
    inner = dim // outer
    along = x.reshape(-1, inner) @ sylvester(inner, x.dtype, x.device)
    return (sylvester(outer, x.dtype, x.device) @ along.view(-1, outer, inner)).view(x.shape)


@ambient.kept(maxsize=64)
def sylvester(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Sylvester's Hadamard matrix, symmetric, of entries +-1: (size, size)."""
    pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=dtype, device=device)
    found = torch.ones(1, 1, dtype=dtype, device=device)
    for _ in range(int(math.log2(size))):
        found = torch.kron(pair, found)
    return found


def _columns(dim: int) -> tuple[list[int], list[int]]:
    """The columns 0, 1, 2, 4, ..., which determine a word of the code, and the other columns."""
    pivots = [0] + [1 << bit for bit in range(dim.bit_length() - 1)]
    return pivots, [column for column in range(dim) if column.bit_count() > 1]


def _scramble(numbers: Tensor, length: int, seed: int) -> Tensor:
    """A random bijection of the integers below 2^length, so that neighbouring blocks differ in half of their bits."""
    mask = (1 << length) - 1
    for turn in range(4):
        low, high = rng.key(seed, f"{PURPOSE}/scramble/{turn}")
        # Adding, multiplying by an odd number and xoring with the high half are all invertible.
        numbers = ((numbers + (low >> 1 & mask)) * ((high << 32 | low | 1) & mask)) & mask
        numbers = numbers ^ (numbers >> (length + 1) // 2)
    return numbers
