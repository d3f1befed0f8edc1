"""The closed forms of `vectors` and their gradients, with the samples' own rows and logits, in one launch."""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# Triton reads the annotations of a kernel's arguments as types of its own.

import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from randhead.losses._rows import DrawnRows
from randhead.losses.kernels import draw
from randhead.losses.kernels.draw import entries_of
from randhead.vectors import gaussian, uniform

ENTRIES, WARPS = 1024, 4  # of a program: more entries per thread spill registers


class Moments(NamedTuple):
    """Of a batch, all float32.

    Attributes:
        target: logits of the samples' classes (B,).
        non_target: log of (K - 1) M(z) (B,).
        relative_std: of the sum over the other classes, sqrt((M(2z)/M(z)^2 - 1)/(K - 1)) (B,).
        log_bias: bound on the error of log M (B,).
        own: class vectors of the samples' classes (B, D).
        gradient: of log M with respect to z (B, D).
    """

    target: Tensor
    non_target: Tensor
    relative_std: Tensor
    log_bias: Tensor
    own: Tensor
    gradient: Tensor


def moments(queries: Tensor, labels: Tensor, rows: DrawnRows) -> Moments:
    """The moments of queries (B, D), and what the samples' own classes (B,) need."""
    (batch, dim), device = queries.shape, queries.device
    drawn = draw.source(rows.geometry, dim, rows.seed, rows.names, device)
    numbers = torch.empty(4, batch, dtype=torch.float32, device=device)
    found = Moments(*numbers, *torch.empty(2, batch, dim, dtype=torch.float32, device=device))
    at_once, blocks = draw.shape(drawn.kind, dim, ENTRIES)
    nodes, log_weights = gaussian.gegenbauer(dim, device) if drawn.kind == draw.NORMALS else (queries, queries)
    others = rows.num_classes - 1
    moments_kernel[(triton.cdiv(batch, at_once),)](
        queries, labels, labels if drawn.names is None else drawn.names, drawn.table, nodes, log_weights, *found,
        batch, dim, *drawn.key, drawn.entry, 1 / math.sqrt(dim), 1 / math.sqrt(dim * uniform.MEAN_SQUARE),
        (uniform.KURTOSIS - 1) / 8 / dim**3, math.log(others), 1 / others,
        KIND=drawn.kind, NAMED=drawn.names is not None, ROWS=at_once, BLOCKS=blocks, NODES=gaussian.NODES,
        num_warps=WARPS,
    )  # fmt: skip
    return found


@triton.jit
def moments_kernel(
    queries, labels, names, table, nodes, log_weights, target, non_target, relative_std, log_bias, own, gradient,
    batch, dim, key0, key1, entry, of_sign, of_integer, of_norm, log_count, per_count,
    KIND: tl.constexpr, NAMED: tl.constexpr, ROWS: tl.constexpr, BLOCKS: tl.constexpr, NODES: tl.constexpr,
):  # fmt: skip
    """See `moments`: ROWS samples per program."""
    sample = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    real = sample < batch
    label = tl.load(labels + sample, mask=real, other=0)
    ids = tl.load(names + label, mask=real, other=0) if NAMED else label
    rows, column = entries_of(ids, table, key0, key1, dim, KIND, ROWS, BLOCKS)
    inside = real[:, None] & (column < dim)[None, :]
    rows = tl.where(inside, rows * entry, 0.0)
    place = sample[:, None] * dim + column[None, :]
    query = tl.load(queries + place, mask=inside, other=0.0)
    tl.store(own + place, rows, mask=inside)
    tl.store(target + sample, tl.sum(query * rows, axis=1), mask=real)
    square = tl.sum(query * query, axis=1)
    bias = tl.zeros((ROWS,), dtype=tl.float32)
    if KIND == 0:
        once, slope = log_cosh(query * of_sign)
        twice, _ = log_cosh(query * (2 * of_sign))
        first, second = tl.sum(once, axis=1), tl.sum(twice, axis=1)
        slopes = slope * of_sign
    elif KIND == 1:
        once, slope = log_uniform(query * of_integer)
        twice, _ = log_uniform(query * (2 * of_integer))
        bias = of_norm * square * square
        first, second = tl.sum(once, axis=1) - bias / 2, tl.sum(twice, axis=1) - 8 * bias
        slopes = slope * of_integer - (2 * of_norm) * square[:, None] * query
    else:
        norm = tl.sqrt(square)
        first, mean = sphere(norm.to(tl.float64), nodes, log_weights, NODES)
        second, _ = sphere(2 * norm.to(tl.float64), nodes, log_weights, NODES)
        slopes = (mean / tl.maximum(norm, 1e-30))[:, None] * query
    tl.store(non_target + sample, first + log_count, mask=real)
    tl.store(relative_std + sample, tl.sqrt(less_one(tl.maximum(second - 2 * first, 0.0)) * per_count), mask=real)
    tl.store(log_bias + sample, bias, mask=real)
    tl.store(gradient + place, slopes, mask=inside)


@triton.jit
def less_one(x):
    """exp(x) - 1 for x >= 0."""
    return tl.where(x < 0.1, x * (1 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x / 120)))), tl.exp(x) - 1)


@triton.jit
def log_cosh(x):
    """Log cosh(x) and its slope, tanh(x)."""
    size = tl.abs(x)
    small = tl.exp(-2 * size)
    closed = size + tl.log(1 + small) - 0.6931471805599453
    s = x * x
    series = s * (1 / 2 - s * (1 / 12 - s * (1 / 45 - s * (17 / 2520))))
    slope = (1 - small) / (1 + small)
    slope = tl.where(size < 0.25, size * (1 - s * (1 / 3 - s * (2 / 15 - s * (17 / 315 - s * (62 / 2835))))), slope)
    return tl.where(size < 0.25, series, closed), tl.where(x < 0, -slope, slope)


@triton.jit
def log_uniform(step):
    """Log sinhc(100 s) - log sinhc(s/2) - s/2, the log-moment of an integer in -100..99, and its slope."""
    wide, of_wide = log_sinhc(100 * step)
    narrow, of_narrow = log_sinhc(step / 2)
    return wide - narrow - step / 2, 100 * of_wide - of_narrow / 2 - 0.5


@triton.jit
def log_sinhc(x):
    """log(sinh(x)/x) and its slope, coth(x) - 1/x; by their series for small |x|."""
    s = x * x
    series = s * (1 / 6 - s * (1 / 180 - s * (1 / 2835 - s * (1 / 37800 - s * (1 / 467775)))))
    slope = x * (1 / 3 - s * (1 / 45 - s * (2 / 945 - s * (1 / 4725 - s * (2 / 93555)))))
    size = tl.maximum(tl.abs(x), 0.5)
    small = tl.exp(-2 * size)
    closed = size + tl.log(1 - small) - tl.log(2 * size)
    steep = (1 + small) / (1 - small) - 1 / size
    is_small = tl.abs(x) < 0.5
    return tl.where(is_small, series, closed), tl.where(is_small, slope, tl.where(x < 0, -steep, steep))


@triton.jit
def sphere(norm, nodes, log_weights, NODES: tl.constexpr):
    """The Gauss-Gegenbauer sum for each norm (ROWS,) float64: its logarithm, and the mean of the nodes under it."""
    at = tl.arange(0, NODES)
    node, log_weight = tl.load(nodes + at).to(tl.float64), tl.load(log_weights + at).to(tl.float64)
    exponent = log_weight[None, :] + norm[:, None] * node[None, :]
    largest = tl.max(exponent, axis=1)
    terms = tl.exp(exponent - largest[:, None])
    total = tl.sum(terms, axis=1)
    return (largest + tl.log(total)).to(tl.float32), (tl.sum(terms * node[None, :], axis=1) / total).to(tl.float32)
