"""Gradients of sweeps that keep no logits: they cannot be differentiated again."""

from typing import Any

import torch
from torch import Tensor

from randhead.errors import UsageError


def once(gradient: Tensor | None, method: str) -> Tensor | None:
    """The gradient; one made with `create_graph=True` says that it cannot be differentiated again.

    Args:
        gradient: any shape.
        method: name of the softmax method, for the message.
    """
    if gradient is None or not torch.is_grad_enabled():
        return gradient
    return _Once.apply(gradient.requires_grad_(), method)


class _Once(torch.autograd.Function):
    """A gradient that cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, method: str) -> Tensor:
        ctx.method = method
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        raise UsageError(
            f"the {ctx.method} softmax has no second derivative",
            hint='use `normaliser="dense"`, or `F.cross_entropy(head(features), labels)`',
        )
