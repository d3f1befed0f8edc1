"""What a step does before and after its sweep over the classes, each in one launch."""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# Triton reads the annotations of a kernel's arguments as types of its own.

import triton
import triton.language as tl

from randhead.losses.kernels.draw import entries_of

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def prepare_kernel(
    queries, labels, names, table, own, target, scaled, level, shift, bounds, bad, clock,
    batch, dim, width, key0, key1, entry, row_scale, largest_norm, headroom,
    KIND: tl.constexpr, NAMED: tl.constexpr, ROWS: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """The samples' own rows (not of kind 3), target logits, bounds, shifts, and queries in the base of the sweep."""
    sample = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    real = sample < batch
    if KIND == 3:
        column = tl.arange(0, BLOCKS * 8)
        inside = real[:, None] & (column < dim)[None, :]
        rows = tl.load(own + sample[:, None] * dim + column[None, :], mask=inside, other=0.0)
    else:
        label = tl.load(labels + sample, mask=real, other=0)
        ids = tl.load(names + label, mask=real, other=0) if NAMED else label
        rows, column = entries_of(ids, table, key0, key1, dim, KIND, ROWS, BLOCKS)
        inside = real[:, None] & (column < dim)[None, :]
        rows = tl.where(inside, rows * entry, 0.0)
        tl.store(own + sample[:, None] * dim + column[None, :], rows, mask=inside)
    query = tl.load(queries + sample[:, None] * dim + column[None, :], mask=inside, other=0.0)
    tl.store(target + sample, tl.sum(query.to(tl.float64) * rows.to(tl.float64), axis=1), mask=real)
    bound = tl.sqrt(tl.sum(query * query, axis=1)) * largest_norm
    shifted = tl.maximum(bound - headroom, 0.0)
    tl.store(bounds + sample, bound, mask=real)
    tl.store(shift + sample, shifted, mask=real)
    tl.store(level + sample, shifted * LOG2_E, mask=real)
    tl.store(bad + sample, 0, mask=real)
    values = (query * (row_scale * LOG2_E)).to(scaled.dtype.element_ty)
    tl.store(scaled + sample[:, None] * width + column[None, :], values, mask=real[:, None] & (column < width)[None, :])
    if tl.program_id(0) == 0:
        tl.store(clock, 0)


@triton.jit
def finish_kernel(
    totals, sums, shift, bad, log_sum, gradient, tiles, parts, batch, dim, width, row_scale, least, safe,
    GRADIENT: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, AT_ONCE: tl.constexpr,
):  # fmt: skip
    """log-sum-exp in float64 from the sums of tiles and its gradient from the sums of parts; NaN if in doubt."""
    sample = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    real = sample < batch
    total = tl.zeros((ROWS,), dtype=tl.float64)
    for first in range(0, tiles, AT_ONCE):
        tile = first + tl.arange(0, AT_ONCE)
        inside = (tile < tiles)[:, None] & real[None, :]
        some = tl.load(totals + tile[:, None] * batch + sample[None, :], mask=inside, other=0.0)
        total += tl.sum(some.to(tl.float64), axis=0)
    total = tl.where(real, total, 1.0)
    shifted = tl.load(shift + sample, mask=real, other=0.0)
    # Too small: terms may have been lost to underflow.  Not finite: a term was too large.
    doubt = ~((total > least) | (shifted <= safe)) | ~(total < 3e38)
    total = tl.where(doubt, float("nan"), total)
    if tl.program_id(1) == 0:
        tl.store(log_sum + sample, tl.log(total) + shifted, mask=real)
        tl.store(bad + sample, 1, mask=real & doubt)
    if GRADIENT:
        column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
        inside = real[:, None] & (column < dim)[None, :]
        summed = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        for part in range(parts):
            line = part * batch + sample
            summed += tl.load(sums + line[:, None].to(tl.int64) * width + column[None, :], mask=inside, other=0.0)
        factor = (row_scale / total).to(tl.float32)
        tl.store(gradient + sample[:, None] * dim + column[None, :], summed * factor[:, None], mask=inside)
