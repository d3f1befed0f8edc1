"""The two matrix products of a chunk of classes, as Triton kernels that load with the tensor copy engine.

Which classes a chunk holds is a number on the device, `clock`, plus an offset: so a captured graph can be run for other
classes.  Kernels of a chunk beyond the last class do nothing.  No kernel uses atomics between programs.
"""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# Triton reads the annotations of a kernel's arguments as types of its own.

import os
from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")  # without inline assembly


class Tile(NamedTuple):
    """Shape of a tile and what a program of it takes.

    Attributes:
        rows: samples.
        columns: classes in `weigh`, dimensions in `add`.
        depth: of the inner dimension at once.
        warps: of a program.
        stages: tiles that are loaded ahead.
        resident: programs per multiprocessor.
    """

    rows: int
    columns: int
    depth: int = 64
    warps: int = 8
    stages: int = 4
    resident: int = 1


def weigh(
    tile: Tile,
    queries: Tensor,
    rows: Tensor,
    shift: Tensor,
    labels: Tensor,
    weights: Tensor,
    totals: Tensor,
    clock: Tensor,
    offset: int,
    num_classes: int,
    programs: int,
    *,
    kept: bool = False,
    early: bool = False,
) -> None:
    """Write 2^(q.w - shift), 0 for the target, to `weights` (B, T) and add its sums over columns to `totals`.

    queries (B, D) and shift (B,) are in base 2; labels (B,); rows (T, D) of classes clock + offset.., or if `kept` all
    rows (K, D); totals (tiles, B) are written for the first class.  The weights of columns beyond the last class, up
    to a multiple of the tile's, become 0; columns are stored in two halves, which takes less shared memory.  If
    `early`, programs may start before the kernel before has ended.
    """
    batch, dim = queries.shape
    chunk = weights.shape[1]
    grid = (min(programs * tile.resident, triton.cdiv(batch, tile.rows) * triton.cdiv(chunk, tile.columns)),)
    weigh_kernel[grid](
        TensorDescriptor.from_tensor(queries, [tile.rows, tile.depth]),
        TensorDescriptor.from_tensor(rows, [tile.columns, tile.depth]),
        TensorDescriptor.from_tensor(weights, [tile.rows, tile.columns // 2]),
        shift, labels, totals, clock, offset, num_classes, chunk, batch, dim,
        ROWS=tile.rows, COLUMNS=tile.columns, DEPTH=tile.depth, KEPT=kept,
        num_warps=tile.warps, num_stages=tile.stages, **launched(early),
    )  # fmt: skip


def add(
    tile: Tile,
    sums: Tensor,
    weights: Tensor,
    rows: Tensor,
    clock: Tensor,
    offset: int,
    num_classes: int,
    *,
    kept: bool = False,
    reduced: bool = False,
    early: bool = False,
) -> None:
    """Add weights (B, T) @ rows (T, D) to `sums` (S, B, D), part by part; for the first class they are written.

    Up to the next multiple of the depth the weights have to be 0 and the rows finite.  If `reduced`, the copy engine
    adds, rather than the program: 4.3 ms instead of 4.7 at B = 1,024.  The rest is as in `weigh`.
    """
    parts, batch, dim = sums.shape
    chunk = weights.shape[1]
    part = triton.cdiv(triton.cdiv(chunk, tile.depth), parts) * tile.depth
    grid = (triton.cdiv(batch, tile.rows), triton.cdiv(dim, tile.columns), parts)
    left = TensorDescriptor.from_tensor(weights, [tile.rows, tile.depth])
    right = TensorDescriptor.from_tensor(rows, [tile.depth, tile.columns])
    added = TensorDescriptor.from_tensor(sums, [1, tile.rows, tile.columns // 2])
    add_kernel[grid](
        left, right, added, clock, offset, num_classes, chunk, part, batch, dim,
        ROWS=tile.rows, COLUMNS=tile.columns, DEPTH=tile.depth, KEPT=kept, REDUCED=reduced,
        num_warps=tile.warps, num_stages=tile.stages, **launched(early),
    )  # fmt: skip


def launched(early: bool) -> dict[str, bool]:
    """The options of a launch whose programs wait for the kernel before themselves: 2 percent of a sweep's time."""
    return {"EARLY": True, "launch_pdl": True} if early else {}


@triton.jit
def weigh_kernel(
    queries, rows, weights, shift, labels, totals, clock, offset, num_classes, chunk, batch, dim,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, KEPT: tl.constexpr,
    EARLY: tl.constexpr = False,
):  # fmt: skip
    """See `weigh`: persistent programs, over tiles of ROWS samples and COLUMNS classes; neighbours share classes."""
    if EARLY:
        follow()
    start = tl.load(clock) + offset
    count = tl.minimum(num_classes - start, chunk).to(tl.int32)
    down, along = tl.cdiv(batch, ROWS), tl.cdiv(count, COLUMNS)
    base = start.to(tl.int32) if KEPT else 0
    for tile in tl.range(tl.program_id(0), down * along, tl.num_programs(0), flatten=True):
        m, n = tile % down, tile // down
        logits = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        for k in range(tl.cdiv(dim, DEPTH)):
            a = queries.load([m * ROWS, k * DEPTH])
            b = rows.load([base + n * COLUMNS, k * DEPTH])
            logits = tl.dot(a, b.T, logits)
        sample = m * ROWS + tl.arange(0, ROWS)
        real = sample < batch
        # Columns of the chunk: the target's, or none of them.
        target = (tl.load(labels + sample, mask=real, other=-1) - start).to(tl.int32)
        level = tl.load(shift + sample, mask=real, other=0.0)
        left = count - n * COLUMNS
        target -= n * COLUMNS
        halves = tl.permute(tl.reshape(logits, (ROWS, 2, COLUMNS // 2)), (0, 2, 1))
        first, second = tl.split(halves)
        column = tl.arange(0, COLUMNS // 2)
        values = weight(first, level, target, column, left, COLUMNS // 2)
        weights.store([m * ROWS, n * COLUMNS], values.to(weights.dtype))
        more = weight(second, level, target, COLUMNS // 2 + column, left, COLUMNS)
        weights.store([m * ROWS, n * COLUMNS + COLUMNS // 2], more.to(weights.dtype))
        sums = tl.sum(values, axis=1) + tl.sum(more, axis=1)
        # Only this program writes these sums, and launches follow each other: no atomics.
        total = totals + n * batch + sample
        before = tl.load(total, mask=real & (start > 0), other=0.0)
        tl.store(total, before + sums, mask=real)


@triton.jit
def weight(logits, level, target, column, left, END: tl.constexpr):
    """2^(logit - level), 0 for the target and for columns from `left` on."""
    values = power(logits - level[:, None])
    # Two instructions less per weight in tiles without a target: most, with many classes.
    if tl.max(((target >= 0) & (target < END)).to(tl.int32), axis=0) > 0:
        values = tl.where(target[:, None] == column[None, :], 0.0, values)
    if left < END:  # in the last tile only
        values = tl.where((column < left)[None, :], values, 0.0)
    return values


@triton.jit
def follow():
    """Let the next kernel's programs start where these leave room, and wait for the results of the one before."""
    tl.extra.cuda.gdc_launch_dependents()
    tl.extra.cuda.gdc_wait()


@triton.jit
def power(x):
    """2^x; below 2^-126 it is 0 or 2^-126, which saves three instructions."""
    if INTERPRETED:
        return tl.exp2(x)
    return tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)


@triton.jit
def add_kernel(
    weights, rows, sums, clock, offset, num_classes, chunk, part, batch, dim,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, KEPT: tl.constexpr, REDUCED: tl.constexpr,
    EARLY: tl.constexpr = False,
):  # fmt: skip
    """See `add`: a tile of ROWS samples and COLUMNS dimensions, over one part of the classes."""
    if EARLY:
        follow()
    start = tl.load(clock) + offset
    count = tl.minimum(num_classes - start, chunk).to(tl.int32)
    base = start.to(tl.int32) if KEPT else 0
    m, n, s = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    first = s * part
    last = tl.minimum(first + part, count)
    summed = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for k in range(first, last, DEPTH):
        a = weights.load([m * ROWS, k])
        b = rows.load([base + k, n * COLUMNS])
        summed = tl.dot(a, b, summed)
    if (first < last) | (start == 0):
        halves = tl.permute(tl.reshape(summed, (1, ROWS, 2, COLUMNS // 2)), (0, 1, 3, 2))
        one, two = tl.split(halves)
        column = n * COLUMNS
        if start == 0:
            sums.store([s, m * ROWS, column], one)
            sums.store([s, m * ROWS, column + COLUMNS // 2], two)
        elif REDUCED:
            # Each sum is added to once per launch: the order, and so every bit, is the same every time.
            sums.atomic_add([s, m * ROWS, column], one)
            sums.atomic_add([s, m * ROWS, column + COLUMNS // 2], two)
        else:
            sums.store([s, m * ROWS, column], one + sums.load([s, m * ROWS, column]))
            column += COLUMNS // 2
            sums.store([s, m * ROWS, column], two + sums.load([s, m * ROWS, column]))
