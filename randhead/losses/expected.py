"""The normaliser's expectation in closed form: time and memory do not depend on K.

Class vectors that are independent draws make the sum over the K - 1 other classes concentrate on its mean,
(K - 1) M(z) with M(z) = E exp(z.w).  The relative variance of the sum is (M(2z)/M(z)^2 - 1)/(K - 1), known at every
step, which bounds the error of the loss.  The bound is about vectors drawn without regard to the features.  Training
can make features of one class lean to another's vector; `exact_classes` sums such classes one by one.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from randhead.errors import UsageError
from randhead.losses import _moments
from randhead.losses._rows import Rows
from randhead.losses._scores import Scores

TOLERANCE = 0.05  # nats
# At least 95 percent of any distribution with one peak lies within 2.98 standard deviations of its mean
# (Vysochanskij and Petunin 1980): 4/(9 * 2.98^2) = 0.05.
DEVIATIONS = 2.98


def check(rows: Rows) -> None:
    """Raise UsageError where the class vectors are not independent draws with a closed form."""
    if rows.geometry not in _moments.BY_GEOMETRY:
        kind = "learned, stored or structured" if rows.geometry is None else rows.geometry
        raise UsageError(
            f"the expected normaliser needs class vectors that are independent draws; these are {kind}",
            hint=f"use fixed {', '.join(_moments.BY_GEOMETRY)} vectors, or --normaliser streaming: exact for all",
        )


def scores(
    queries: Tensor, labels: Tensor, rows: Rows, bias: None = None, *, exact_classes: Tensor | None = None
) -> Scores:
    """Queries (B, D), labels (B,) int64, rows of K classes -> own (B,), expected others (B,), their spread and offset.

    `exact_classes` (N,) int64, all different, are summed exactly.  A bias that differs between classes is refused.
    """
    check(rows)
    if bias is not None:
        raise UsageError("the expected normaliser knows no learned bias", hint="use --normaliser streaming")
    own = (queries * rows.take(labels)).sum(dim=1)
    log_mean, offset = _moments.BY_GEOMETRY[rows.geometry](queries)
    if exact_classes is None:
        count = torch.full_like(own, rows.num_classes - 1)
        return Scores(own, log_mean + count.log(), _spread(queries, rows, log_mean, count), offset)
    is_own = labels[:, None] == exact_classes
    count = rows.num_classes - len(exact_classes) - 1 + is_own.sum(dim=1).to(own.dtype)
    exact = torch.logsumexp((queries @ rows.take(exact_classes).T).masked_fill(is_own, -torch.inf), dim=1)
    rest = log_mean + count.log()
    others = torch.logaddexp(exact, rest)
    share = (rest - others).detach().exp()
    spread = torch.where(count > 0, _spread(queries, rows, log_mean, count.clamp(min=1)), 0.0)
    return Scores(own, others, share * spread, None if offset is None else share * offset)


def mean_row(rows: Rows) -> Tensor:
    """The mean row (D,), which label smoothing needs, at its expectation; the true one is |w|/sqrt(K) away."""
    entry = -0.5 / math.sqrt(rows.dim * _moments.MEAN_SQUARE) if rows.geometry == "uniform" else 0.0
    return torch.full((rows.dim,), entry, device=rows.device)


@torch.no_grad()
def error_bound(scores: Scores) -> Tensor:
    """What the mean loss of the batch differs from the exact one by in at most 5 percent of draws: a scalar, in nats.

    A sample's loss is log(1 + e^a (1 + d)), a = others - own, with d the relative error of the sum.  As it is concave
    in d, its error is at most the one at d = -DEVIATIONS * spread, times |d| over that.  Standard deviations of means
    are at most means of standard deviations, so the batch's error is bounded by the mean bound.
    """
    excess = scores.others - scores.own
    least = torch.log1p(-(DEVIATIONS * scores.spread).clamp(max=1))
    bounds = F.softplus(excess) - F.softplus(excess + least)
    bounds = torch.where(DEVIATIONS * scores.spread < 1, bounds, torch.inf)
    return (bounds if scores.offset is None else bounds + scores.offset * excess.sigmoid()).mean()


def refuse(bound: float, tolerance: float, rows: Rows) -> None:
    """Raise UsageError where the error bound is above the tolerance."""
    if not bound <= tolerance:
        raise UsageError(
            f"the expected normaliser may be off by {bound:.3g} nats with {rows.num_classes} classes in {rows.dim} "
            f"dimensions, the tolerance is {tolerance:g}",
            hint="use --normaliser streaming (exact), smaller features (a lower scale), more dimensions or classes, "
            "or a larger tolerance (--set head.normaliser_tolerance=...)",
        )


@torch.no_grad()
def _spread(queries: Tensor, rows: Rows, log_mean: Tensor, count: Tensor) -> Tensor:
    """The relative standard deviation of the sum over `count` (B,) classes: sqrt((M(2z)/M(z)^2 - 1)/count)."""
    doubled, _ = _moments.BY_GEOMETRY[rows.geometry](2 * queries)
    return (torch.expm1((doubled - 2 * log_mean).clamp(min=0)) / count).sqrt()
