"""Rows of a Hadamard matrix with random signs: W_k = H_D[k mod D] * s_b / sqrt(D), where b = k // D is the block of k.

Sylvester's H_D has the sign of popcount(r & c) at row r, column c; a fast transform gives the D logits of a block in
D log D operations.  Rows of a block are orthogonal; cosines between blocks are those of random signs.

No two rows are ever equal or opposite.  Two blocks have a row in common, up to sign, exactly if s_a * s_b is a row of
H_D up to sign, that is, if s_a and s_b are in the same coset of the first-order Reed-Muller code.  Each coset has one
word that is plus at the columns 0, 1, 2, 4, 8, ...; its other columns encode the block's number, scrambled by a
bijection.  s_b is this word times a random word of the code.  From D = 64 up every 63-bit id has its own row; below,
all 2^(D-1) corners of the cube (up to sign) are used.  Truncated Hadamard matrices, in contrast, repeat rows (488 of
1,000 at D = 512).

D must be a power of two.
"""

import torch
from torch import Tensor

from randhead import rng
from randhead.errors import UsageError

BY_ROW = True
PURPOSE = "vectors/hadamard"


def rows(ids: Tensor, dim: int, *, seed: int, out: Tensor) -> None:
    """Hadamard rows with the signs of their block: ids (N,) int64, written to `out` (N, dim), entries +-1/sqrt(dim)."""
    blocks, block_of = torch.unique(ids // dim, return_inverse=True)
    negative = walsh(ids % dim, dim) ^ signs(blocks, dim, seed=seed)[block_of]
    entry = float(1 / torch.tensor(dim, dtype=torch.float64).sqrt())
    out.copy_(torch.tensor([entry, -entry], device=ids.device)[negative.long()])


def signs(blocks: Tensor, dim: int, *, seed: int) -> Tensor:
    """The sign diagonals of blocks of `dim` classes: (N,) int64 -> (N, dim) int8, 1 if the sign is minus."""
    pivots, free = _columns(dim)
    length = min(len(free), 64 - len(pivots))  # the block number of a 63-bit id has 63 - log2(D) bits
    drawn = rng.bits(seed, PURPOSE, blocks, dim)
    code_word = walsh((drawn[:, pivots[1:]] << torch.arange(len(pivots) - 1, device=blocks.device)).sum(dim=1), dim)
    code_word ^= drawn[:, :1].to(torch.int8)
    coset = drawn.to(torch.int8)
    coset[:, pivots] = 0
    number = _scramble(blocks, length, seed)[:, None]
    coset[:, free[:length]] = ((number >> torch.arange(length, device=blocks.device)) & 1).to(torch.int8)
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
