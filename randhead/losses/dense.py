"""The exact softmax with all class vectors and all logits in memory, for small K."""

from typing import Any

import torch
from torch import Tensor

from randhead.losses._rows import ClassRows
from randhead.losses._scores import Scores
from randhead.losses._tracing import has_tangents, is_traced


def scores(queries: Tensor, labels: Tensor, rows: ClassRows, bias: Tensor | None = None) -> Scores:
    """Scores from the whole matrix of logits.

    Args:
        queries: embedded, scaled features (B, D).
        labels: target classes (B,) int64.
        rows: K class vectors.
        bias: learned bias (K,).
    """
    return split(logits(queries, rows, bias), labels)


def logits(queries: Tensor, rows: ClassRows, bias: Tensor | None = None) -> Tensor:
    """The logits of all classes: (B, D) -> (B, K)."""
    products = queries @ rows.matrix().to(queries.dtype).T
    return products if bias is None else products + bias


def split(logits: Tensor, labels: Tensor) -> Scores:
    """Scores from logits: (B, K), labels (B,) int64 -> target (B,), log-sum-exp of the other classes (B,).

    Example:
        >>> split(torch.tensor([[2.0, 1.0, -torch.inf]]), torch.tensor([0])).non_target
        tensor([1.])
    """
    columns = labels[:, None]
    if is_traced() or has_tangents():
        non_target = logits.scatter(1, columns, -torch.inf).logsumexp(dim=1)
        return Scores(logits.gather(1, columns).squeeze(1), non_target)
    target, non_target, _ = _Split.apply(logits, columns)
    return Scores(target, non_target)


class _Split(torch.autograd.Function):
    """Keeps the exponentials of the forward pass: 0.8 times the time of autograd on the same formulas.

    They are an output too, so that a gradient made with `create_graph=True` can be differentiated through them.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        target = logits.gather(1, labels)
        others = logits.scatter(1, labels, -torch.inf)
        highest = others.amax(dim=1, keepdim=True)
        weights = others.sub_(highest).exp_()
        total = weights.sum(dim=1, keepdim=True)
        ctx.save_for_backward(weights, total, labels)
        ctx.set_materialize_grads(False)
        return target.squeeze(1), total.log().add_(highest).squeeze(1), weights

    @staticmethod
    def backward(
        ctx: Any, of_target: Tensor | None, of_non_target: Tensor | None, of_weights: Tensor | None
    ) -> tuple[Tensor | None, None]:
        weights, total, labels = ctx.saved_tensors
        if torch.is_grad_enabled():  # differentiable; the largest logit cancels, so it counts as a constant
            total = weights.sum(dim=1, keepdim=True)
        gradient = None
        if of_non_target is not None:
            gradient = weights * (of_non_target[:, None] / total)
        if of_weights is not None:
            gradient = of_weights * weights if gradient is None else gradient + of_weights * weights
        if of_target is not None:
            gradient = torch.zeros_like(weights) if gradient is None else gradient
            gradient = gradient.scatter_(1, labels, of_target[:, None])
        return gradient, None
