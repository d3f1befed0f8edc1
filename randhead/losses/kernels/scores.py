"""Scores of a batch on a CUDA device: both numbers of a sample with one gradient for both, in few launches."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from randhead.losses._once import once
from randhead.losses._rows import ClassRows, DrawnRows
from randhead.losses._scores import Scores
from randhead.losses.kernels import moments
from randhead.losses.kernels.kept import sweep

FallBack = Callable[[bool], tuple[Tensor, Tensor | None]]


@torch.compiler.disable
def streaming(queries: Tensor, labels: Tensor, rows: ClassRows, fall_back: FallBack) -> Scores:
    """As `streaming.scores`, for rows without gradient.

    Args:
        queries: embedded, scaled features (B, D) float32.
        labels: target classes (B,) int64.
        rows: K class vectors.
        fall_back: whether a gradient is needed -> log-sum-exp over the other classes (B,) float64 and its gradient,
            computed with a running maximum; called if logits are too large for the static shift.
    """
    gradient = torch.is_grad_enabled() and queries.requires_grad
    return Scores(*_Streaming.apply(queries, labels, rows, gradient, fall_back))


@torch.compiler.disable
def expected(queries: Tensor, labels: Tensor, rows: DrawnRows) -> Scores:
    """As `expected.scores`, without exact classes."""
    scores = Scores(*_Expected.apply(queries, labels, rows))
    how = rows.geometry.cuda_draw
    return scores if how and how.entries == "integers" else scores._replace(log_bias=None)


class _Streaming(torch.autograd.Function):
    """Target logit and log-sum-exp over the other classes (B,) float64."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, labels: Tensor, rows: ClassRows, gradient: bool, fall_back: FallBack
    ) -> tuple[Tensor, Tensor]:
        found = sweep(queries, labels, rows, gradient=gradient)
        log_sum, slope = found.log_sum, found.gradient
        if not found.is_certain:
            log_sum, slope = fall_back(gradient)
        ctx.save_for_backward(found.own, slope)
        return found.target, log_sum

    @staticmethod
    def backward(ctx: Any, of_target: Tensor, of_log_sum: Tensor) -> tuple[Tensor | None, ...]:
        own, slope = ctx.saved_tensors
        return once(_combined(own, slope, of_target, of_log_sum), "streaming"), None, None, None, None


class _Expected(torch.autograd.Function):
    """Target logit, log-sum-exp over the other classes, its relative standard deviation and error (B,) float32."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, labels: Tensor, rows: DrawnRows) -> tuple[Tensor, ...]:
        with torch.cuda.device_of(queries):
            found = moments.moments(queries.contiguous(), labels.contiguous(), rows)
        ctx.save_for_backward(found.own, found.gradient)
        ctx.mark_non_differentiable(found.relative_std, found.log_bias)
        return found[:4]

    @staticmethod
    def backward(ctx: Any, of_target: Tensor, of_non_target: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        own, slope = ctx.saved_tensors
        return once(_combined(own, slope, of_target, of_non_target), "expected"), None, None


@torch.no_grad()
def _combined(own: Tensor, slope: Tensor, of_own: Tensor, of_slope: Tensor) -> Tensor:
    """The gradient with respect to the queries (B, D)."""
    return (own * of_own[:, None].to(own.dtype)).addcmul_(slope, of_slope[:, None].to(own.dtype))
