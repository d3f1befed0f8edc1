"""The exact softmax in one sweep over tiles of classes: memory does not grow with K.

The gradient of log sum_k exp(q.w_k) is the softmax-weighted sum of the w_k.  With fixed w that is flash attention with
keys = values = class vectors, so one sweep computes both the log-sum-exp and the gradient: 4BKD flop, nothing is
computed twice.  Tiles of rows are drawn once for the whole batch.  The gradient of learned rows depends on the
incoming gradient, so it takes a second sweep (8BKD in total).

As rows have a known norm, |z| <= |q|, a static shift replaces the running maximum of the online softmax
(Milakov and Gimelshein 2018), and tiles can be added in any order.
"""

import warnings
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from randhead.losses import kernels
from randhead.losses._once import once
from randhead.losses._rows import ClassRows, DrawnRows
from randhead.losses._scores import Scores
from randhead.losses._target import pop_target
from randhead.losses._tiles import Tile, tiles

STATIC_BOUND = 120.0  # logits that may be larger than this need the running maximum
HEADROOM = 60.0  # exp(60) times a billion classes is still a float32
LEAST = 1e-20  # a static sum below this has lost terms to underflow


class Sweep(NamedTuple):
    """log_sum (B,) float64 over the other classes, and its gradient with respect to the queries (B, D), or None."""

    log_sum: Tensor
    gradient: Tensor | None


def scores(
    queries: Tensor,
    labels: Tensor,
    rows: ClassRows,
    bias: Tensor | None = None,
    *,
    precision: torch.dtype | None = None,
) -> Scores:
    """Scores in float64, from one sweep over all classes.

    Args:
        queries: embedded, scaled features (B, D).
        labels: target classes (B,) int64.
        rows: K class vectors.
        bias: learned bias (K,).
        precision: dtype of the products over all classes, by default that of the queries; the target's logit, sums and
            exponents are never rounded to it.
    """
    if _on_device(queries, rows, bias, precision or queries.dtype):
        from randhead.losses.kernels import scores as on_device

        return on_device.streaming(queries, labels, rows, partial(_running, queries, labels, rows, bias, torch.float32))
    # In float64, here and in the sums: what remains of a well-fitted sample is exp(non_target - target), so rounding
    # either to float32 would be a relative error of its gradient.
    target = (queries.double() * rows.gather(labels).double()).sum(dim=1)
    target = target if bias is None else target + bias[labels]
    learned = rows.matrix() if rows.geometry is None else None
    gradient = torch.is_grad_enabled() and queries.requires_grad
    non_target = _NonTargetLogSumExp.apply(queries, learned, bias, labels, rows, precision or queries.dtype, gradient)
    return Scores(target, non_target)


class _NonTargetLogSumExp(torch.autograd.Function):
    """log sum_{k != label} exp(q.w_k + b_k), and its gradient from the same sweep."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        learned: Tensor | None,
        bias: Tensor | None,
        labels: Tensor,
        rows: ClassRows,
        precision: torch.dtype,
        gradient: bool,
    ) -> Tensor:
        swept = sweep(queries, labels, rows, bias, precision=precision, gradient=gradient)
        again = (queries, bias, labels, swept.log_sum) if any(ctx.needs_input_grad[1:3]) else (None,) * 4
        ctx.save_for_backward(swept.gradient, *again)
        ctx.rows = rows
        return swept.log_sum

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradient, queries, bias, labels, log_sum = ctx.saved_tensors
        of_rows = of_bias = None
        with torch.no_grad():
            of_queries = None if gradient is None else grad[:, None].to(gradient.dtype) * gradient
            if any(ctx.needs_input_grad[1:3]):
                of_rows, of_bias = _sweep_back(queries, labels, ctx.rows, bias, log_sum, grad)
        return *(once(gradient, "streaming") for gradient in (of_queries, of_rows, of_bias)), None, None, None, None


def sweep(
    queries: Tensor,
    labels: Tensor,
    rows: ClassRows,
    bias: Tensor | None = None,
    *,
    precision: torch.dtype,
    gradient: bool = True,
) -> Sweep:
    """Log-sum-exp over the other classes and its gradient, by a static shift if the norms allow it.

    Args:
        queries: embedded, scaled features (B, D).
        labels: target classes (B,) int64.
        rows: K class vectors.
        bias: learned bias (K,).
        precision: dtype of the products over all classes.
        gradient: whether to compute the gradient with respect to the queries.
    """
    if not len(queries):
        return Sweep(queries.new_zeros(0, dtype=torch.float64), torch.zeros_like(queries) if gradient else None)
    plain = _arithmetic(precision, queries.device)
    if _has_kernel(queries, rows, bias, precision):
        from randhead.losses.kernels.kept import sweep as on_device

        found = on_device(queries.detach(), labels, rows, gradient=gradient)
        return (
            Sweep(found.log_sum, found.gradient)
            if found.is_certain
            else _running(queries, labels, rows, bias, plain, gradient)
        )
    bound = torch.linalg.vector_norm(queries.detach(), dim=1) * rows.largest_norm()
    bound = bound if bias is None else bound + bias.detach().abs().max()
    if bound.max() <= STATIC_BOUND:
        shift = (bound - HEADROOM).clamp_(min=0)
        total, summed, _ = _accumulate(queries.detach(), labels, rows, bias, shift, plain, gradient, False)
        if (total > LEAST).all():
            return _finish(total, summed, shift)
    return _running(queries, labels, rows, bias, plain, gradient)


@torch.no_grad()
def _running(
    queries: Tensor, labels: Tensor, rows: ClassRows, bias: Tensor | None, precision: torch.dtype, gradient: bool
) -> Sweep:
    """As `sweep`, with a running maximum: for logits of any size."""
    lowest = queries.new_full((len(queries),), torch.finfo(queries.dtype).min)
    return _finish(*_accumulate(queries.detach(), labels, rows, bias, lowest, precision, gradient, True))


def _finish(total: Tensor, summed: Tensor | None, shift: Tensor) -> Sweep:
    gradient = None if summed is None else summed.mul_((1 / total)[:, None].to(summed.dtype))
    return Sweep(total.double().log() + shift, gradient)


def _accumulate(
    queries: Tensor,
    labels: Tensor,
    rows: ClassRows,
    bias: Tensor | None,
    shift: Tensor,
    precision: torch.dtype,
    gradient: bool,
    running: bool,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """The sums of exp(z - shift) (B,) float64 and exp(z - shift) w (B, D), and the shift (B,), raised if `running`."""
    row_scale = rows.row_scale(precision)
    scaled = (queries * row_scale).to(precision)
    total = torch.zeros_like(shift, dtype=torch.float64)
    summed = torch.zeros_like(queries) if gradient else None
    logits_of, shifted = _Logits(scaled), running or bool(shift.any())
    for start, tile in tiles(rows, len(queries), precision):
        logits = logits_of(tile, start, labels, bias)
        if running:
            highest = torch.maximum(shift, logits.amax(dim=1))
            factor = (shift - highest).exp_()
            total *= factor
            summed = None if summed is None else summed.mul_(factor[:, None])
            shift = highest
        weights = (logits.sub_(shift[:, None]) if shifted else logits).exp_()
        total += weights.sum(dim=1)
        if summed is not None:
            tile.add(summed, weights)
    return total, None if summed is None else summed.mul_(row_scale), shift


def _sweep_back(
    queries: Tensor, labels: Tensor, rows: ClassRows, bias: Tensor | None, log_sum: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The gradient with respect to learned rows (K, D) and bias (K,)."""
    of_rows = torch.empty(rows.num_classes, rows.dim, dtype=queries.dtype, device=queries.device)
    of_bias = None if bias is None else torch.empty_like(bias)
    logits_of = _Logits(queries)
    for start, tile in tiles(rows, len(queries), queries.dtype):
        stop = start + tile.classes
        logits = logits_of(tile, start, labels, bias)
        weights = logits.sub_(log_sum[:, None]).exp_().mul_(grad[:, None])
        torch.mm(weights.T, queries, out=of_rows[start:stop])
        if of_bias is not None:
            torch.sum(weights, dim=0, out=of_bias[start:stop])
    return of_rows, of_bias


class _Logits:
    """The logits of a tile's classes, -inf for the target, in memory that all tiles share."""

    def __init__(self, queries: Tensor):
        self.queries = queries
        self.space = torch.empty(0, dtype=torch.promote_types(queries.dtype, torch.float32), device=queries.device)

    def __call__(self, tile: Tile, start: int, labels: Tensor, bias: Tensor | None) -> Tensor:
        """(B, T) in at least float32, which the caller may overwrite."""
        count = len(self.queries) * tile.classes
        self.space = self.space if self.space.numel() >= count else self.space.new_empty(count)
        logits = tile.logits(self.queries, self.space[:count].view(len(self.queries), tile.classes))
        logits = logits if bias is None else logits.add_(bias[start : start + tile.classes])
        pop_target(logits, labels - start)
        return logits


def _arithmetic(precision: torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype of torch's own products: bfloat16 on a CPU with instructions for it, else at least float32.

    Without them bfloat16 is 10 to 100 times slower than float32; on a CUDA device bfloat16 is left to the kernels.
    """
    native = device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return precision if native else torch.promote_types(precision, torch.float32)


def _on_device(queries: Tensor, rows: ClassRows, bias: Tensor | None, precision: torch.dtype) -> bool:
    """Whether the kernels also make target logits and gradients: no learned rows."""
    if not len(queries):
        return False
    fixed = isinstance(rows, DrawnRows) or not rows.matrix().requires_grad
    return fixed and queries.dtype == torch.float32 and _has_kernel(queries, rows, bias, precision)


def _has_kernel(queries: Tensor, rows: ClassRows, bias: Tensor | None, precision: torch.dtype) -> bool:
    """Whether the Triton kernels do this sweep: bfloat16 on a CUDA device, no learned bias, no fast transform."""
    if not queries.is_cuda or bias is not None or precision != torch.bfloat16:
        return False
    if rows.geometry is not None and rows.geometry.fast_tiles is not None:
        return False
    if not kernels.AVAILABLE:
        warnings.warn("triton is not installed: the streaming softmax is several times slower", stacklevel=2)
    return kernels.AVAILABLE
