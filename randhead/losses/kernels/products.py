"""The two matrix products of a chunk of classes, as Triton kernels."""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# Triton reads the annotations of a kernel's arguments as types of its own.

import triton
import triton.language as tl
from torch import Tensor

ROWS, COLUMNS, DEPTH = 128, 256, 64  # tile of the product in `weigh`: 190 registers on sm_90
WIDTH = 128  # columns of a tile in `add`: 190 registers; twice as many spill


def weigh(
    queries: Tensor,
    rows: Tensor,
    shift: Tensor,
    labels: Tensor,
    weights: Tensor,
    totals: Tensor,
    start: int,
    count: int,
) -> None:
    """Write 2^(q.w - shift), 0 for the target, to `weights` (B, T) and add its sums over columns to `totals`.

    queries (B, D), rows (T, D) of classes start..start+count-1, shift (B,), labels (B,); totals (T/COLUMNS, B).  The
    weights of columns beyond count, up to a multiple of COLUMNS, become 0.
    """
    batch, dim = queries.shape
    grid = (triton.cdiv(batch, ROWS), triton.cdiv(count, COLUMNS))
    weigh_kernel[grid](
        queries, rows, shift, labels, weights, totals, start, count, batch, dim, weights.shape[1],
        ROWS=ROWS, COLUMNS=COLUMNS, DEPTH=DEPTH, num_warps=8, num_stages=3,
    )  # fmt: skip


def add(sums: Tensor, weights: Tensor, rows: Tensor, count: int) -> None:
    """Add weights (B, T) @ rows (T, D), of the first `count` classes, to `sums` (S, B, D), part by part.

    Up to the next multiple of COLUMNS the weights have to be 0 and the rows finite: masks along the inner dimension
    would forbid wide loads.
    """
    splits, batch, dim = sums.shape
    count = triton.cdiv(count, DEPTH) * DEPTH
    part = triton.cdiv(count // DEPTH, splits) * DEPTH
    grid = (triton.cdiv(batch, ROWS), triton.cdiv(dim, WIDTH), splits)
    add_kernel[grid](
        sums, weights, rows, count, part, batch, dim, weights.shape[1],
        ROWS=ROWS, COLUMNS=WIDTH, DEPTH=DEPTH, num_warps=8, num_stages=4,
    )  # fmt: skip


def programs(batch: int, dim: int) -> int:
    """Number of programs of `add` for one part of the classes."""
    return triton.cdiv(batch, ROWS) * triton.cdiv(dim, WIDTH)


@triton.jit
def weigh_kernel(
    queries, rows, shift, labels, weights, totals, start, count, batch, dim, stride,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """See `weigh`: a tile of ROWS samples and COLUMNS classes."""
    sample = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    depth = tl.arange(0, DEPTH)
    real, used = sample < batch, column < count
    left = queries + sample[:, None] * dim + depth[None, :]
    right = rows + column[None, :] * dim + depth[:, None]
    logits = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for done in range(0, dim, DEPTH):
        within = depth < dim - done
        a = tl.load(left + done, mask=real[:, None] & within[None, :], other=0.0)
        b = tl.load(right + done, mask=used[None, :] & within[:, None], other=0.0)
        logits = tl.dot(a, b, logits)
    target = tl.load(labels + sample, mask=real, other=-1) - start
    counted = real[:, None] & used[None, :] & (target[:, None] != column[None, :])
    values = tl.where(counted, tl.exp2(logits - tl.load(shift + sample, mask=real, other=0.0)[:, None]), 0.0)
    pointers = weights + sample[:, None].to(tl.int64) * stride + column[None, :]
    tl.store(pointers, values.to(weights.dtype.element_ty), mask=real[:, None])
    # Only this program writes these sums, and launches follow each other: no atomics.
    total = totals + tl.program_id(1) * batch + sample
    tl.store(total, tl.load(total, mask=real, other=0.0) + tl.sum(values, axis=1), mask=real)


@triton.jit
def add_kernel(
    sums, weights, rows, count, part, batch, dim, stride,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """See `add`: a tile of ROWS samples and COLUMNS dimensions, over one part of the classes."""
    sample = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    depth = tl.arange(0, DEPTH)
    real, used = sample < batch, column < dim
    first = tl.program_id(2) * part
    last = tl.minimum(first + part, count)
    left = weights + sample[:, None].to(tl.int64) * stride + depth[None, :]
    right = rows + depth[:, None] * dim + column[None, :]
    summed = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for done in range(first, last, DEPTH):
        a = tl.load(left + done, mask=real[:, None], other=0.0)
        b = tl.load(right + done * dim, mask=used[None, :], other=0.0)
        summed = tl.dot(a, b, summed)
    pointers = sums + (tl.program_id(2).to(tl.int64) * batch + sample[:, None]) * dim + column[None, :]
    mask = real[:, None] & used[None, :]
    tl.store(pointers, tl.load(pointers, mask=mask, other=0.0) + summed, mask=mask)
