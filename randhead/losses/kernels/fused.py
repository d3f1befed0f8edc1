"""Both matrix products of a chunk of classes in one Triton kernel, for few dimensions: no weight leaves the chip.

Writing and reading a weight moves 4 bytes for 4D flop: the fewer dimensions, the more this matters.  A sample's sum of
rows has to stay in registers, which is possible up to D = 256 on sm_90.  Beyond, every tile shape that was tried
spilled, and `products.py` is used.
"""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# Triton reads the annotations of a kernel's arguments as types of its own.

import triton
import triton.language as tl
from torch import Tensor

LARGEST_DIM = 256
COLUMNS = 64  # classes at once


def add(
    sums: Tensor,
    totals: Tensor,
    queries: Tensor,
    rows: Tensor,
    shift: Tensor,
    labels: Tensor,
    start: int,
    count: int,
) -> None:
    """Add p = 2^(q.w - shift), 0 for the target, to `totals` (S, B) and p w to `sums` (S, B, D), part by part.

    queries (B, D), rows (T, D) of classes start..start+count-1, shift (B,), labels (B,).
    """
    parts, batch, dim = sums.shape
    part = triton.cdiv(triton.cdiv(count, COLUMNS), parts) * COLUMNS
    at_once, padded = shape(dim)
    fused_kernel[programs(batch, dim), parts](
        sums, totals, queries, rows, shift, labels, start, count, part, batch, dim,
        ROWS=at_once, COLUMNS=COLUMNS, DIM=padded, num_warps=8, num_stages=3,
    )  # fmt: skip


def shape(dim: int) -> tuple[int, int]:
    """Number of samples per program, and of dimensions, a power of two."""
    padded = max(triton.next_power_of_2(dim), 16)
    return (128 if padded <= 128 else 64), padded  # 178 and 189 registers on sm_90; twice as many samples spill


def programs(batch: int, dim: int) -> int:
    """Number of programs for one part of the classes."""
    return triton.cdiv(batch, shape(dim)[0])


@triton.jit
def fused_kernel(
    sums, totals, queries, rows, shift, labels, start, count, part, batch, dim,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DIM: tl.constexpr,
):  # fmt: skip
    """See `add`: a tile of ROWS samples, over one part of the classes."""
    sample, depth = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, DIM)
    real, within = sample < batch, depth < dim
    a = tl.load(queries + sample[:, None] * dim + depth[None, :], mask=real[:, None] & within[None, :], other=0.0)
    target = tl.load(labels + sample, mask=real, other=-1) - start
    level = tl.load(shift + sample, mask=real, other=0.0)
    total = tl.zeros((ROWS,), dtype=tl.float32)
    summed = tl.zeros((ROWS, DIM), dtype=tl.float32)
    first = tl.program_id(1) * part
    last = tl.minimum(first + part, count)
    for done in range(first, last, COLUMNS):
        column = done + tl.arange(0, COLUMNS)
        used = column < last
        b = tl.load(rows + column[:, None] * dim + depth[None, :], mask=used[:, None] & within[None, :], other=0.0)
        logits = tl.dot(a, tl.trans(b))
        counted = used[None, :] & (target[:, None] != column[None, :])
        values = tl.where(counted, tl.exp2(logits - level[:, None]), 0.0)
        total += tl.sum(values, axis=1)
        summed = tl.dot(values.to(b.dtype), b, summed)
    # Only this program writes these sums, and launches follow each other: no atomics.
    line = tl.program_id(1).to(tl.int64) * batch + sample
    tl.store(totals + line, tl.load(totals + line, mask=real, other=0.0) + total, mask=real)
    pointers, mask = sums + line[:, None] * dim + depth[None, :], real[:, None] & within[None, :]
    tl.store(pointers, tl.load(pointers, mask=mask, other=0.0) + summed, mask=mask)
