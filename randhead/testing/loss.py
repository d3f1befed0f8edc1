"""The contract of the softmax methods."""

import torch
import torch.nn.functional as F
from torch import Tensor

from randhead.head import ClassVectorHead
from randhead.testing._members import Member, claim, known, without_global_randomness

DIM = 64
NORMS = (1.0, 5.0, 20.0)  # of features, from uncertain to certain
SCALES = {"dot": 1.0, "cosine": 8.0}


def check_loss(member: Member, *, num_classes: int = 300, tolerance: float = 1e-5) -> None:
    """Check that a member of `randhead.losses` fulfils the contract of its family, against cross-entropy in float64.

    Args:
        member: a module, the path of a Python file or the name of a member.
        num_classes: K of the tested heads.
        tolerance: the largest relative error of the loss, and of the norm of its gradient.

    Raises:
        AssertionError: if the contract is broken.

    Example:
        >>> check_loss("dense")
    """
    with known("losses", member) as (name, _):
        for scoring, scale in SCALES.items():
            head = _head(num_classes, name, scoring, scale)
            for norm in NORMS:
                _check_values(head, norm, tolerance, f"{scoring}, features of norm {norm:g}")
        _check_values(_head(num_classes, name), 5.0, tolerance, "label smoothing", label_smoothing=0.1)


def _head(num_classes: int, normaliser: str, scoring: str = "dot", scale: float = 1.0) -> ClassVectorHead:
    """A head with random signs, without a limit for the error of an approximation."""
    return ClassVectorHead(
        num_classes, DIM, "rademacher", scoring, scale=scale, normaliser=normaliser, normaliser_tolerance=10.0
    )


def _check_values(
    head: ClassVectorHead, norm: float, tolerance: float, what: str, label_smoothing: float = 0.0
) -> None:
    features, labels = _batch(head, norm)
    with without_global_randomness("scores"):
        loss = head.loss(features, labels, label_smoothing=label_smoothing)
    claim(loss.shape == () and bool(loss.isfinite()), f"{what}: the loss must be a finite scalar, got {loss}")
    (gradient,) = torch.autograd.grad(loss, features)
    exact = features.detach().double().requires_grad_()
    expected = F.cross_entropy(_logits(head, exact), labels, label_smoothing=label_smoothing)
    (expected_gradient,) = torch.autograd.grad(expected, exact)
    wrong = abs(loss.item() - expected.item()) / max(abs(expected.item()), 1e-3)
    claim(wrong <= tolerance, f"{what}: the loss is {loss.item():.8g}, in float64 {expected.item():.8g}")
    away = float((gradient.double() - expected_gradient).norm() / expected_gradient.norm().clamp_min(1e-6))
    claim(away <= tolerance, f"{what}: the gradient differs from that in float64 by {away:.1e} of its norm")


def _batch(head: ClassVectorHead, norm: float) -> tuple[Tensor, Tensor]:
    """Features (32, D) in directions between noise and their class vector, and labels (32,)."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, head.num_classes, (32,), generator=generator)
    noise = F.normalize(torch.randn(32, head.dim, generator=generator), dim=1)
    share = torch.linspace(0, 1, 32)[:, None]
    directions = F.normalize(noise * (1 - share) + share * head.rows().matrix()[labels], dim=1)
    return (norm * directions).requires_grad_(), labels


def _logits(head: ClassVectorHead, features: Tensor) -> Tensor:
    queries = F.normalize(features, dim=1) if head.scoring == "cosine" else features
    return head.scale * queries @ head.class_vectors().double().T + head.constant
