"""Class vectors drawn by Triton kernels: the bits of `rng.py`, entries as in `randhead.vectors`, one launch each.

A gaussian entry is looked up in a table.  Random reads of global memory run at 280 GB/s on an H200, so the table is
gathered from shared memory: its upper half, the lower being its mirror image, in 16 bits, since the upper bits of a
sorted table are the number of thresholds that the index has passed.
"""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# Triton reads the annotations of a kernel's arguments as types of its own.

import functools
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from randhead import ambient, rng
from randhead.losses.kernels.products import launched
from randhead.vectors import Geometry, sign_entry

SIGNS, INTEGERS, NORMALS, STORED = range(4)
KINDS = {"signs": SIGNS, "integers": INTEGERS, "normals": NORMALS}  # of entries, as a `CudaDraw` names them
BITS = {SIGNS: 1, INTEGERS: 16, NORMALS: 16, STORED: 16}  # of an entry
ENTRIES = 8192  # of a program
# Entries at once of a program that gathers from shared memory: 24 us for 21,120 rows of 512; with half of either 25 to
# 31, with reads of global memory 76.
GATHERED, GATHER_WARPS = 16384, 32
HALF = tl.constexpr(32768)  # entries of half the table


class Source(NamedTuple):
    """Which rows the kernels draw.

    Attributes:
        kind: of entries.
        key: of the random words.
        dim: D.
        names: hashed class names (K,) int64; None for class indices.
        table: of quantiles of normals, which other kinds do not read.
        entry: what the kernels' entries are multiplied by to become those of the geometry; their signs are +-1.
    """

    kind: int
    key: tuple[int, int]
    dim: int
    names: Tensor | None
    table: Tensor
    entry: float


def source(geometry: Geometry, dim: int, seed: int, names: Tensor | None, device: torch.device) -> Source:
    """The rows of a geometry that states its `cuda_draw`."""
    how = geometry.cuda_draw
    assert how is not None  # as the caller knows  # noqa: S101
    kind = KINDS[how.entries]
    table = rng.normal_table(device) if kind == NORMALS else torch.empty(1, dtype=torch.int64, device=device)
    entry = sign_entry(dim) if kind == SIGNS else 1.0
    return Source(kind, rng.key(seed, how.purpose), dim, names, table, entry)


def by_id(geometry: Geometry, ids: Tensor, dim: int, seed: int, out: Tensor | None = None) -> Tensor:
    """The rows of some ids: (N,) int64 -> (N, D) float32, written to `out` if it is given."""
    rows, ids = source(geometry, dim, seed, None, ids.device), ids.contiguous()
    found = torch.empty(len(ids), dim, dtype=torch.float32, device=ids.device) if out is None else out
    at_once, blocks = shape(rows.kind, dim)
    if not len(ids):
        return found
    with torch.cuda.device_of(ids):
        draw_rows[(triton.cdiv(len(ids), at_once),)](
            found, ids, ids, rows.table, ids, 0, len(ids), 0, dim, found.stride(0), *rows.key, rows.entry,
            KIND=rows.kind, NAMED=False, LISTED=True, ROWS=at_once, BLOCKS=blocks, num_warps=4,
        )  # fmt: skip
    return found


def chunk_into(space: Tensor, rows: Source, num_classes: int, clock: Tensor, offset: int, early: bool = False) -> None:
    """Write rows clock + offset.. to all rows of `space` (T, D or wider), signs as +-1.

    Rows beyond the last class are finite.  `early` is as in `products.weigh`.
    """
    kind, dim, count = rows.kind, rows.dim, len(space)
    names = clock if rows.names is None else rows.names
    if kind == NORMALS:
        at_once, blocks = shape(kind, dim, GATHERED)
        table, first, second, third, fourth = half_table(space.device)
        programs = min(triton.cdiv(count, at_once), multiprocessors(space.device))
        draw_gathered[(programs,)](
            space, names, table, clock, offset, count, num_classes, dim, space.stride(0), *rows.key,
            NAMED=rows.names is not None, ROWS=at_once, BLOCKS=blocks,
            FIRST=first, SECOND=second, THIRD=third, FOURTH=fourth, num_warps=GATHER_WARPS, **launched(early),
        )  # fmt: skip
        return
    at_once, blocks = shape(kind, dim)
    draw_rows[(triton.cdiv(count, at_once),)](
        space, clock, names, rows.table, clock, offset, count, num_classes, dim, space.stride(0), *rows.key, 1.0,
        KIND=kind, NAMED=rows.names is not None, LISTED=False, ROWS=at_once, BLOCKS=blocks,
        num_warps=4, **launched(early),
    )  # fmt: skip


def shape(kind: int, dim: int, entries: int = ENTRIES) -> tuple[int, int]:
    """Number of rows per program, and of blocks of four random words per row; powers of two."""
    blocks = triton.next_power_of_2(-(-dim * BITS[kind] // 128))
    return max(entries * BITS[kind] // (blocks * 128), 1), blocks


@ambient.kept(maxsize=8)
def half_table(device: torch.device) -> tuple[Tensor, int, int, int, int]:
    """The low 16 bits of the upper half of `rng.normal_table`, and where its values pass 1, 2, 3 and 4 times 2^16."""
    upper = rng.normal_table(device)[HALF.value :]
    first, second, third, fourth = (int((upper < multiple << 16).sum()) for multiple in (1, 2, 3, 4))
    return (upper & 0xFFFF).to(torch.int32).to(torch.int16), first, second, third, fourth


@functools.lru_cache(maxsize=8)
def multiprocessors(device: torch.device) -> int:
    """Number of multiprocessors; 4 on a CPU, where kernels are interpreted."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4


@triton.jit
def draw_rows(
    space, classes, names, table, clock, offset, count, total, dim, stride, key0, key1, scale,
    KIND: tl.constexpr, NAMED: tl.constexpr, LISTED: tl.constexpr, ROWS: tl.constexpr, BLOCKS: tl.constexpr,
    EARLY: tl.constexpr = False,
):  # fmt: skip
    """Rows of a geometry times `scale`: those of listed classes, or of clock + offset.., ROWS of them per program."""
    if EARLY:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < count
    ids = tl.load(classes + row, mask=inside, other=0) if LISTED else tl.load(clock) + offset + row
    if NAMED:
        ids = tl.load(names + ids, mask=inside & (ids < total), other=0)
    entries, column = entries_of(ids.to(tl.int64), table, key0, key1, dim, KIND, ROWS, BLOCKS)
    entries = entries * scale
    pointers = space + row[:, None].to(tl.int64) * stride + column[None, :]
    tl.store(pointers, entries.to(space.dtype.element_ty), mask=inside[:, None] & (column < dim)[None, :])


@triton.jit
def draw_gathered(
    space, names, table, clock, offset, count, total, dim, stride, key0, key1,
    NAMED: tl.constexpr, ROWS: tl.constexpr, BLOCKS: tl.constexpr,
    FIRST: tl.constexpr, SECOND: tl.constexpr, THIRD: tl.constexpr, FOURTH: tl.constexpr,
    EARLY: tl.constexpr = False,
):  # fmt: skip
    """Gaussian rows clock + offset.., the table gathered from shared memory."""
    WIDTH: tl.constexpr = BLOCKS * 8
    low = tl.load(table + tl.arange(0, HALF))
    if EARLY:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    column = tl.arange(0, WIDTH)
    valid = (column < dim)[None, :]
    for block in range(tl.program_id(0), tl.cdiv(count, ROWS), tl.num_programs(0)):
        row = block * ROWS + tl.arange(0, ROWS)
        inside = row < count
        ids = (tl.load(clock) + offset + row).to(tl.int64)
        if NAMED:
            ids = tl.load(names + ids, mask=inside & (ids < total), other=0)
        words = philox_words(ids, key0, key1, ROWS, BLOCKS)
        halves = tl.reshape(tl.join(words & 0xFFFF, words >> 16), (ROWS * WIDTH,)).to(tl.int32)
        is_upper = halves >= HALF
        index = (halves ^ tl.where(is_upper, HALF, HALF - 1)).to(tl.int32)
        size = tl.gather(low, index, 0).to(tl.int32) & 0xFFFF
        size += ((index >= FIRST).to(tl.int32) + (index >= SECOND).to(tl.int32)) << 16
        size += ((index >= THIRD).to(tl.int32) + (index >= FOURTH).to(tl.int32)) << 16
        integers = tl.where(valid, tl.reshape(tl.where(is_upper, size, -size), (ROWS, WIDTH)), 0)
        entries = integers.to(tl.float32) * inverse_norm(integers)[:, None]
        pointers = space + row[:, None].to(tl.int64) * stride + column[None, :]
        tl.store(pointers, entries.to(space.dtype.element_ty), mask=inside[:, None] & valid)


@triton.jit
def entries_of(
    ids, table, key0, key1, dim, KIND: tl.constexpr, ROWS: tl.constexpr, BLOCKS: tl.constexpr
):  # fmt: skip
    """The entries of rows, ids (ROWS,) -> (ROWS, WIDTH) float32, 0 beyond `dim` but for signs, and their columns."""
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
            inverse = (1 / tl.sqrt(tl.where(squared == 0, 1.0, squared))).to(tl.float32)
        else:
            integers = tl.where(valid, tl.load(table + halves).to(tl.int32), 0)
            inverse = inverse_norm(integers)
        entries = integers.to(tl.float32) * inverse[:, None]
    return entries, column


@triton.jit
def inverse_norm(integers):
    """One over the norm of rows of integers whose squares have up to 38 bits, exact but for the last roundings."""
    wide = integers.to(tl.float64)
    squared = tl.sum(wide * wide, axis=1)
    return (1 / tl.sqrt(tl.where(squared == 0, 1.0, squared))).to(tl.float32)


@triton.jit
def philox_words(ids, key0, key1, ROWS: tl.constexpr, BLOCKS: tl.constexpr):
    """Philox4x32-10 of the counters (block, 0, id low, id high): ids (ROWS,) -> words (ROWS, 4 * BLOCKS) in order."""
    nothing = tl.zeros((ROWS, BLOCKS), dtype=tl.uint32)
    c0 = nothing + tl.arange(0, BLOCKS)[None, :].to(tl.uint32)
    c1 = nothing
    c2 = nothing + (ids & 0xFFFFFFFF).to(tl.uint32)[:, None]
    c3 = nothing + (ids >> 32).to(tl.uint32)[:, None]
    k0, k1 = nothing + key0.to(tl.uint32), nothing + key1.to(tl.uint32)
    m0, m1 = nothing.to(tl.uint64) + 0xD2511F53, nothing.to(tl.uint64) + 0xCD9E8D57
    for _ in tl.static_range(10):
        # One multiplication gives both halves: IMAD.WIDE.
        first, second = c0.to(tl.uint64) * m0, c2.to(tl.uint64) * m1
        c0, c2 = (second >> 32).to(tl.uint32) ^ c1 ^ k0, (first >> 32).to(tl.uint32) ^ c3 ^ k1
        c1, c3 = second.to(tl.uint32), first.to(tl.uint32)
        k0 += 0x9E3779B9
        k1 += 0xBB67AE85
    return tl.reshape(tl.join(tl.join(c0, c2), tl.join(c1, c3)), (ROWS, 4 * BLOCKS))
