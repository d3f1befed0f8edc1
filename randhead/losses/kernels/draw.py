"""Class vectors drawn by a Triton kernel: the bits of `rng.py`, entries as in `randhead.vectors`."""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# Triton reads the annotations of a kernel's arguments as types of its own.

import triton
import triton.language as tl
from torch import Tensor

from randhead import rng
from randhead.losses._rows import DrawnRows

SIGNS, INTEGERS, NORMALS = range(3)
KINDS = {"signs": SIGNS, "integers": INTEGERS, "normals": NORMALS}  # of entries, as a `CudaDraw` names them
BITS = {SIGNS: 1, INTEGERS: 16, NORMALS: 16}  # of an entry
ENTRIES = 8192  # of a program


def into(space: Tensor, rows: DrawnRows, start: int, count: int) -> None:
    """Write rows start..start+count-1, over their row scale in bfloat16, to the first rows of `space` (T, D)."""
    how, dim = rows.geometry.cuda_draw, space.shape[1]
    assert how is not None  # as the caller knows  # noqa: S101
    kind = KINDS[how.entries]
    at_once, blocks = shape(kind, dim)
    key = rng.key(rows.seed, how.purpose)
    table = rng.normal_table(space.device) if kind == NORMALS else space
    names = space if rows.names is None else rows.names
    draw_rows[(triton.cdiv(count, at_once),)](
        space, names, table, start, count, dim, *key,
        KIND=kind, NAMED=rows.names is not None, ROWS=at_once, BLOCKS=blocks, num_warps=4,
    )  # fmt: skip


def shape(kind: int, dim: int) -> tuple[int, int]:
    """Number of rows per program, and of blocks of four random words per row; powers of two."""
    blocks = triton.next_power_of_2(-(-dim * BITS[kind] // 128))
    return max(ENTRIES * BITS[kind] // (blocks * 128), 1), blocks


@triton.jit
def draw_rows(
    space, names, table, start, count, dim, key0, key1,
    KIND: tl.constexpr, NAMED: tl.constexpr, ROWS: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """Rows start..start+count-1 of a geometry; each program draws ROWS of them, each from BLOCKS * 4 random words."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < count
    ids = tl.load(names + start + row, mask=inside, other=0) if NAMED else (start + row).to(tl.int64)
    words = philox_words(ids, key0, key1, ROWS, BLOCKS)
    if KIND == 0:
        bits = (words[:, :, None] >> tl.arange(0, 32)[None, None, :].to(tl.uint32)) & 1
        column = tl.arange(0, BLOCKS * 128)
        entries = 2 * tl.reshape(bits, (ROWS, BLOCKS * 128)).to(tl.int32).to(tl.float32) - 1
    else:
        halves = tl.reshape(tl.join(words & 0xFFFF, words >> 16), (ROWS, BLOCKS * 8)).to(tl.int32)
        column = tl.arange(0, BLOCKS * 8)
        valid = (column < dim)[None, :]
        if KIND == 1:
            integers = tl.where(valid, (halves * 200 >> 16) - 100, 0)
            squared = tl.sum(integers * integers, axis=1).to(tl.float64)
            first_axis = (squared == 0)[:, None] & (column == 0)[None, :]
            integers = tl.where(first_axis, 1, integers)
        else:
            integers = tl.where(valid, tl.load(table + halves).to(tl.int32), 0)
            wide = integers.to(tl.float64)
            squared = tl.sum(wide * wide, axis=1)
        inverse = (1 / tl.sqrt(tl.where(squared == 0, 1.0, squared))).to(tl.float32)
        entries = integers.to(tl.float32) * inverse[:, None]
    pointers = space + row[:, None].to(tl.int64) * dim + column[None, :]
    tl.store(pointers, entries.to(space.dtype.element_ty), mask=inside[:, None] & (column < dim)[None, :])


@triton.jit
def philox_words(ids, key0, key1, ROWS: tl.constexpr, BLOCKS: tl.constexpr):
    """Philox4x32-10 of the counters (block, 0, id low, id high): ids (ROWS,) -> words (ROWS, 4 * BLOCKS) in order."""
    nothing = tl.zeros((ROWS, BLOCKS), dtype=tl.uint32)
    c0 = nothing + tl.arange(0, BLOCKS)[None, :].to(tl.uint32)
    c1 = nothing
    c2 = nothing + (ids & 0xFFFFFFFF).to(tl.uint32)[:, None]
    c3 = nothing + (ids >> 32).to(tl.uint32)[:, None]
    k0, k1 = nothing + key0.to(tl.uint32), nothing + key1.to(tl.uint32)
    m0, m1 = nothing + 0xD2511F53, nothing + 0xCD9E8D57
    for _ in tl.static_range(10):
        high0, low0, high1, low1 = tl.umulhi(m0, c0), m0 * c0, tl.umulhi(m1, c2), m1 * c2
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 += 0x9E3779B9
        k1 += 0xBB67AE85
    return tl.reshape(tl.join(tl.join(c0, c2), tl.join(c1, c3)), (ROWS, 4 * BLOCKS))
