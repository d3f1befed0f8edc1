"""The expected sum over the other classes in closed form: time and memory do not depend on K.

If class vectors are independent draws, the sum over the K - 1 other classes concentrates on its mean, (K - 1) M(z) with
M(z) = E exp(z.w).  The relative variance of the sum is (M(2z)/M(z)^2 - 1)/(K - 1), known at every step, which bounds
the error of the loss.  The bound holds for vectors drawn independently of the features.  Training can align features of
one class with another class's vector; `exact_classes` sums such classes one by one.

With cosine scoring and a fixed scale s, M(z) is nearly a constant (exactly for gaussian vectors), and the loss becomes
softplus(c - s cos(z, own)): an alignment loss with that constant c, known as dot regression and its kin from
hyperspherical prototypes (Mettes, van der Pol and Snoek 2019, arXiv 1901.10514) and fixed simplex vectors (Yang et al.
2022, arXiv 2203.09081).  Cross-entropy over many random classes turns into dot regression; what is new here is the
bound on the difference.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from randhead import registry
from randhead.errors import ContractError, UsageError
from randhead.losses import kernels
from randhead.losses._rows import ClassRows, DrawnRows, StoredRows
from randhead.losses._scores import Scores
from randhead.vectors import LogMeanExp, called

TOLERANCE = 0.05  # nats
# At least 95 percent of any distribution with one peak lies within 2.98 standard deviations of its mean
# (Vysochanskij and Petunin 1980): 4/(9 * 2.98^2) = 0.05.
DEVIATIONS = 2.98
COMPARED = 4096  # class vectors, with a closed form from outside the package
UNIT = 1e-3  # largest difference of a norm from 1


def check(rows: ClassRows, *, normalised: bool = False) -> None:
    """Raise UsageError if the class vectors are not independent draws with a closed form, or with another one.

    Args:
        rows: K class vectors, as they are drawn.
        normalised: whether they are normalised before they are used, which a closed form knows nothing of.
    """
    closed_form(rows)
    if isinstance(rows, StoredRows):
        _compare(rows)
    if normalised and isinstance(rows, StoredRows):
        norms = torch.linalg.vector_norm(rows.matrix().detach(), dim=1)
        if not ((norms - 1).abs() < UNIT).all():
            raise UsageError(
                f"the closed form of {rows.geometry} vectors is for their own norms, from {norms.min():.3g} to "
                f"{norms.max():.3g}; cosine scoring normalises them",
                hint='use `scoring="dot"`, unit vectors, or `normaliser="streaming"`, which is exact for all',
            )


@torch.no_grad()
def _compare(rows: StoredRows) -> None:
    """Raise ContractError if a closed form from outside the package is not that of its class vectors (K, D).

    It is compared with the mean of exp(z.w) over them, for short z, along the axes: terms are from 1/e to e.
    """
    sample = rows.matrix().detach()[:COMPARED].cpu()
    longest = max(torch.linalg.vector_norm(sample, dim=1).max().item(), 1e-6)
    queries = torch.eye(rows.dim, dtype=torch.float32, device="cpu")[:8] / longest
    value, bound = _evaluated(closed_form(rows), queries.to(rows.device), rows)
    terms = (sample.double() @ queries.double().T).exp()
    mean = terms.mean(dim=0)
    chance = 6 * (1 + terms.std(dim=0)) / len(terms) ** 0.5
    off = (value.cpu().double() - mean.log()).abs() - (0 if bound is None else bound.cpu().double())
    if not (off <= chance).all():
        worst = int(off.nan_to_num(nan=torch.inf).argmax())
        raise ContractError(
            f"log_mean_exp of {rows.geometry} vectors gives {value[worst].item():.3g} for a query of norm "
            f"{1 / longest:.3g}; over {len(terms)} of them it is {mean[worst].log().item():.3g}",
            hint="`randhead.testing.check_geometry` compares a closed form with draws",
        )


def scores(
    queries: Tensor, labels: Tensor, rows: ClassRows, bias: None = None, *, exact_classes: Tensor | None = None
) -> Scores:
    """Scores with the expected value of the sum over the other classes, and bounds on the error.

    Args:
        queries: embedded, scaled features (B, D).
        labels: target classes (B,) int64.
        rows: K class vectors, independent draws.
        bias: must be None; a bias that differs between classes has no closed form.
        exact_classes: distinct classes (N,) int64 that are summed exactly.

    Raises:
        UsageError: for class vectors without a closed form, and for a bias.
    """
    log_mean_exp = closed_form(rows)
    if bias is not None:
        raise UsageError("the expected softmax supports no learned bias", hint='use `normaliser="streaming"`')
    if exact_classes is None and _on_device(queries, rows):
        assert isinstance(rows, DrawnRows)  # noqa: S101
        from randhead.losses.kernels import scores as on_device

        return on_device.expected(queries, labels, rows)
    target = (queries * rows.gather(labels)).sum(dim=1)
    log_mean, log_bias = _evaluated(log_mean_exp, queries, rows)
    if exact_classes is None:
        count = torch.full_like(target, rows.num_classes - 1)
        return Scores(target, log_mean + count.log(), _relative_std(queries, rows, log_mean, count), log_bias)
    is_target = labels[:, None] == exact_classes
    count = rows.num_classes - len(exact_classes) - 1 + is_target.sum(dim=1).to(target.dtype)
    exact = torch.logsumexp((queries @ rows.gather(exact_classes).T).masked_fill(is_target, -torch.inf), dim=1)
    rest = log_mean + count.log()
    non_target = torch.logaddexp(exact, rest)
    share = (rest - non_target).detach().exp()
    relative_std = torch.where(count > 0, _relative_std(queries, rows, log_mean, count.clamp(min=1)), 0.0)
    return Scores(target, non_target, share * relative_std, None if log_bias is None else share * log_bias)


def mean_row(rows: ClassRows) -> Tensor:
    """The expected mean row (D,), which label smoothing needs; the actual one differs by about |w|/sqrt(K).

    It is the actual one if the geometry does not state it.
    """
    if rows.geometry is None or rows.geometry.mean_row is None:
        return rows.mean()
    row = called(rows.geometry, "mean_row", rows.dim)
    if not isinstance(row, Tensor) or row.shape != (rows.dim,):
        got = f"shape {tuple(row.shape)}" if isinstance(row, Tensor) else type(row).__name__
        raise ContractError(
            f"mean_row of {rows.geometry} vectors must give a tensor ({rows.dim},), got {got}",
            hint="see `randhead.vectors.Geometry`",
        )
    return row.to(rows.device, torch.float32, non_blocking=True)


def closed_form(rows: ClassRows) -> LogMeanExp:
    """The closed form of log E exp(z.w) for these class vectors.  Raises UsageError if there is none, and says why."""
    geometry = rows.geometry
    if geometry is not None and geometry.log_mean_exp is not None:
        return partial(called, geometry, "log_mean_exp")
    members = {name: registry.load("vectors", name) for name in registry.builtin_names("vectors")}
    known = [name for name, member in members.items() if hasattr(member, "log_mean_exp")]
    hint = f'use fixed {", ".join(known)} vectors, or `normaliser="streaming"`, which is exact for all'
    if geometry is None:
        reason = "these are learned or stored"
    elif not geometry.by_row or geometry.independent is False:
        reason = f"{geometry} vectors are not independent draws"
    else:
        reason = f"{geometry} vectors have no closed form"
        hint = f"state it as `log_mean_exp` of the geometry; or {hint}"
    needs = "the expected softmax needs class vectors that are independent draws with a closed form"
    raise UsageError(f"{needs}; {reason}", hint=hint)


@torch.no_grad()
def error_bound(scores: Scores, weights: Tensor | None = None) -> Tensor:
    """A bound in nats (a scalar) that the error of the batch's mean loss exceeds in at most 5 percent of draws.

    With weights (B,), that of their weighted mean; 0 if all are 0, as for a batch without samples.

    A sample's loss is log(1 + e^a (1 + d)), a = non_target - target, with d the relative error of the sum.  As it is
    concave in d, its error is at most the one at d = -DEVIATIONS * relative_std, times |d| over that.  Standard
    deviations of means are at most means of standard deviations, so the batch's error is bounded by the mean bound.
    """
    if scores.relative_std is None:
        return scores.target.new_zeros(())
    if scores.target.dtype == torch.float32 and kernels.can_read(scores.target):
        from randhead.losses.kernels.bound import error_bound as on_device

        return on_device(scores, weights, DEVIATIONS)
    excess, deviation = scores.non_target - scores.target, DEVIATIONS * scores.relative_std
    least = torch.log1p(-deviation.clamp(max=1))
    bounds = F.softplus(excess) - F.softplus(excess + least)
    bounds = torch.where(deviation < 1, bounds, torch.inf)
    bounds = bounds if scores.log_bias is None else bounds + scores.log_bias * excess.sigmoid()
    if weights is None and len(bounds):
        return bounds.mean()
    shares = torch.ones_like(bounds) if weights is None else weights
    return torch.where(shares > 0, shares * bounds, 0.0).sum() / shares.sum().clamp_min(torch.finfo(shares.dtype).tiny)


def refuse(bound: float, tolerance: float, rows: ClassRows) -> None:
    """Raise UsageError if the error bound is above the tolerance, both in nats."""
    if not bound <= tolerance:
        raise UsageError(
            f"the expected softmax may be off by {bound:.3g} nats with {rows.num_classes} classes in {rows.dim} "
            f"dimensions, the tolerance is {tolerance:g}",
            hint='use `normaliser="streaming"` (exact), smaller features (a lower `scale`), more dimensions or '
            "classes, or a larger `head.normaliser_tolerance`",
        )


def _evaluated(log_mean_exp: LogMeanExp, queries: Tensor, rows: ClassRows) -> tuple[Tensor, Tensor | None]:
    """The logarithm of E exp(z.w) (B,) and a bound on its error (B,), None if it is exact."""
    found = log_mean_exp(queries)
    value, bound = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
    for part in (value,) if bound is None else (value, bound):
        if not isinstance(part, Tensor) or part.shape != queries.shape[:1]:
            got = f"shape {tuple(part.shape)}" if isinstance(part, Tensor) else type(part).__name__
            raise ContractError(
                f"log_mean_exp of {rows.geometry} vectors must give one number per query ({len(queries)},), got {got}",
                hint="see `randhead.vectors.Geometry`",
            )
    return value, bound


def _on_device(queries: Tensor, rows: ClassRows) -> bool:
    """Whether a kernel has this closed form."""
    if not isinstance(rows, DrawnRows) or not len(queries) or queries.dtype != torch.float32:
        return False
    return rows.has_kernel(queries)


@torch.no_grad()
def _relative_std(queries: Tensor, rows: ClassRows, log_mean: Tensor, count: Tensor) -> Tensor:
    """The relative standard deviation of the sum over `count` (B,) classes: sqrt((M(2z)/M(z)^2 - 1)/count)."""
    doubled, _ = _evaluated(closed_form(rows), 2 * queries, rows)
    return (torch.expm1((doubled - 2 * log_mean).clamp(min=0)) / count).sqrt()
