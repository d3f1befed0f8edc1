"""The loss of a head per sample: a softmax method, and what surrounds it (margin, smoothing, soft labels)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from randhead import losses, registry
from randhead.arguments import shown
from randhead.errors import UsageError
from randhead.losses import ClassRows, LossBatch, Scores, dense, expected, streaming

if TYPE_CHECKING:
    from randhead.head.head import ClassVectorHead

Margin = Callable[[Tensor], Tensor]
EXACT = 'use `normaliser="streaming"`, which is exact, or "dense"'


def losses_of(
    head: "ClassVectorHead",
    queries: Tensor,
    batch: LossBatch,
    margin: Margin | None,
    exact_classes: Tensor | None,
    *,
    check_bound: bool,
) -> Tensor:
    """The cross-entropy per sample, class weights included (B,).  Sets `head.last_error_bound`.

    Args:
        head: its class vectors, bias and softmax method are used.
        queries: embedded, scaled features (B, D).
        batch: the checked batch.
        margin: maps the cosines to the target class.
        exact_classes: classes that the expected softmax sums one by one.
        check_bound: whether to compare the error bound of the expected softmax with the tolerance.

    Raises:
        UsageError: for what the softmax method cannot do.
    """
    name = "dense" if queries.is_meta else head.normaliser_for(len(batch.labels))  # only shapes are asked for
    _check_method(name, batch)
    if margin is not None:
        losses.check_margin(margin, head.scoring, soft=batch.soft is not None)
    if exact_classes is not None:
        exact_classes = losses.check_exact_classes(exact_classes, head.num_classes, name)
    rows = head.rows(queries.device)
    if isinstance(head.last_error_bound, Tensor) or head.last_error_bound:  # setting an attribute takes 2 us
        head.last_error_bound = 0.0
    if name == "dense" and batch.soft is not None:
        return _soft_dense(dense.logits(queries, rows, head.bias), batch, batch.soft)
    found = _scores(head, name, queries, batch, rows, exact_classes)
    if batch.soft is not None:
        return _soft(head, queries, batch, batch.soft, rows, found)
    scores = found if margin is None else found._replace(target=_with_margin(head, found.target, batch.labels, margin))
    if name == "expected":
        head.last_error_bound = bound = expected.error_bound(scores, batch.shares)
        if check_bound:
            head.last_error_bound = bound.item()
            expected.refuse(head.last_error_bound, head.normaliser_tolerance, rows)
    each = losses.cross_entropy(scores.target, scores.non_target)
    if not batch.label_smoothing:
        return each if batch.class_weights is None else batch.class_weights[batch.labels] * each
    change = None if margin is None else scores.target - found.target
    return _smoothed(each, batch, scores.target, change, _mean_logit(head, queries, rows, batch.class_weights))


def _check_method(name: str, batch: LossBatch) -> None:
    """Raise UsageError for what a softmax method cannot do."""
    if name in ("streaming", "expected") and torch.compiler.is_compiling():
        # With fullgraph=True this text is the error.
        torch._dynamo.graph_break(msg=f'the {name} softmax is no graph, use `normaliser="dense"`')
    if name in ("streaming", "expected") and losses.is_transformed():
        raise UsageError(
            f"the {name} softmax cannot be transformed by torch.func",
            hint='use `normaliser="dense"`, or `F.cross_entropy(head(features), labels)`',
        )
    if name == "expected" and batch.soft is not None:
        raise UsageError("the expected softmax supports no soft labels, which need all logits", hint=EXACT)
    if name == "expected" and batch.class_weights is not None and batch.label_smoothing:
        raise UsageError(
            "the expected softmax supports no class weights together with label smoothing: their weighted mean of all "
            "logits has no closed form",
            hint=EXACT,
        )
    if name != "dense" and batch.soft is not None and batch.soft.requires_grad:
        raise UsageError(
            f"the {name} softmax has no gradient with respect to soft labels",
            hint='`labels.detach()`, or `normaliser="dense"`',
        )


def _scores(
    head: "ClassVectorHead", name: str, queries: Tensor, batch: LossBatch, rows: ClassRows, exact_classes: Tensor | None
) -> Scores:
    if name == "dense":
        return dense.scores(queries, batch.labels, rows, head.bias)
    if name == "expected":
        return expected.scores(queries, batch.labels, rows, exact_classes=exact_classes)
    if name == "streaming":
        precision = torch.bfloat16 if batch.features.dtype == torch.bfloat16 else queries.dtype
        return streaming.scores(queries, batch.labels, rows, head.bias, precision=precision)
    return registry.load("losses", name).scores(queries, batch.labels, rows, head.bias)


def _with_margin(head: "ClassVectorHead", target: Tensor, labels: Tensor, margin: Margin) -> Tensor:
    bias = 0.0 if head.bias is None else head.bias[labels]
    cosines = (target - bias) / head.multiplier()
    lowered = margin(cosines)
    if not isinstance(lowered, Tensor) or lowered.shape != cosines.shape or not lowered.is_floating_point():
        what = f"{lowered.dtype} of shape {tuple(lowered.shape)}" if isinstance(lowered, Tensor) else shown(lowered)
        raise UsageError(
            f"margin must return a floating-point tensor of shape {tuple(cosines.shape)}, got {what}",
            hint="it maps the cosines to the target class, one per sample, as `randhead.losses.cosface` does",
        )
    return head.multiplier() * lowered + bias


def _smoothed(each: Tensor, batch: LossBatch, target: Tensor, change: Tensor | None, mean_logit: Tensor) -> Tensor:
    """The loss with label smoothing, from the one without.

    The loss for class k is log-sum-exp - z_k = each + target - z_k, so that their mean needs the mean logit only.

    Args:
        each: the loss without smoothing (B,).
        batch: the checked batch.
        target: logits of the target classes (B,), after the margin.
        change: what the margin added to them (B,); None without a margin.
        mean_logit: mean over the classes of class weight times logit, before the margin (B,).
    """
    share, weights = batch.label_smoothing, batch.class_weights
    if change is not None:
        of_target = change if weights is None else change * weights[batch.labels]
        mean_logit = mean_logit + of_target / batch.num_classes
    if weights is None:
        return each + share * (target - mean_logit)
    mass = (1 - share) * weights[batch.labels] + share * weights.mean()
    return mass * each + share * (weights.mean() * target - mean_logit)


def _mean_logit(head: "ClassVectorHead", queries: Tensor, rows: ClassRows, weights: Tensor | None) -> Tensor:
    """The mean over all classes of the logits per sample, each times the weight of its class: (B, D) -> (B,)."""
    if weights is not None:
        row = losses.mixture(weights[None], rows, None, queries.dtype)[0] / head.num_classes
        return queries @ row + (0.0 if head.bias is None else (weights * head.bias).mean())
    mean = expected.mean_row(rows) if head.normaliser == "expected" else rows.mean()
    return queries @ mean.to(queries.dtype) + (0.0 if head.bias is None else head.bias.mean())


def _soft_dense(logits: Tensor, batch: LossBatch, soft: Tensor) -> Tensor:
    """The loss of soft labels (B, K), from all logits (B, K)."""
    scores = dense.split(logits, batch.labels)
    shares = (1 - batch.label_smoothing) * soft + batch.label_smoothing / soft.shape[1]
    shares = shares if batch.class_weights is None else shares * batch.class_weights
    each = losses.cross_entropy(scores.target, scores.non_target)
    return shares.sum(dim=1) * each + (shares * (scores.target[:, None] - logits)).sum(dim=1)


def _soft(
    head: "ClassVectorHead", queries: Tensor, batch: LossBatch, soft: Tensor, rows: ClassRows, scores: Scores
) -> Tensor:
    """The loss of soft labels (B, K), without another matrix of that shape."""
    share, weights = batch.label_smoothing, batch.class_weights
    each = losses.cross_entropy(scores.target, scores.non_target)
    mass = soft.sum(dim=1) if weights is None else soft @ weights.to(soft.dtype)
    logit = (queries * losses.mixture(soft, rows, weights, queries.dtype).double()).sum(dim=1)
    if head.bias is not None:
        logit = logit + soft @ (head.bias if weights is None else head.bias * weights).to(soft.dtype)
    if share:
        mass = (1 - share) * mass + share * (1.0 if weights is None else weights.mean())
        logit = (1 - share) * logit + share * _mean_logit(head, queries, rows, weights)
    return mass * each + (mass * scores.target - logit)
