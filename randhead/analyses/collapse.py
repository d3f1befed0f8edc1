"""Neural collapse: NC1 to NC4 (Papyan, Han and Donoho 2020, arXiv 2008.08186), measured against the run's own head.

Only a head whose vectors can form a simplex can collapse onto one.  So every metric has a floor: its value for a run
that has collapsed perfectly onto this head, so that every feature of class k equals w_k minus the mean class vector
(dot product), or w_k / |w_k| (cosine).  For a random head the floor of the simplex metrics is far from zero; then
nc2_head and nc3 with centred vectors are informative.  For more classes than dimensions there are also GNC1 to GNC3 of
Jiang et al. 2023 (arXiv 2310.05351).

NC1 is divided by K, as in most later code, although not in Papyan's own.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from randhead.ambient import Array, mean, threads, total
from randhead.analyses import ClassStatistics, Findings, Metrics, _margin, class_statistics
from randhead.analyses._collapse_metrics import METRICS as METRICS
from randhead.analyses._inputs import OTHER_CLASSES, centred, checked_classes, finite, number, unit
from randhead.analyses._largest import Largest
from randhead.arguments import check_type, whole
from randhead.arrays import as_numbers
from randhead.errors import DataError, UsageError, unknown

INPUT = "run"
HEADLINES = (
    "nc1",
    "nc2_equinorm",
    "nc2_equinorm_floor",
    "nc2_equiangularity",
    "nc2_equiangularity_floor",
    "nc2_head",
    "nc3",
    "nc3_cosine",
    "nc4",
    "gnc1",
    "gnc2",
    "gnc2_floor",
    "gnc3",
    "gnc3_floor",
)
GNC2 = ("gnc2", "gnc2_floor", "gnc2_vectors")
ROWS = 1024


def measure(
    features: Array,
    labels: Array,
    *,
    num_classes: int | None = None,
    class_vectors: Array | None = None,
    bias: Array | float | None = None,
    scale: float = 1.0,
    scoring: str = "dot",
    train: ClassStatistics | None = None,
    seed: int = 0,
) -> Findings:
    """Neural collapse of the features of one split, measured against the class vectors of their head.

    The logits are scale * h.w_k + b_k, or scale * cos(h, w_k) + b_k.

    Metrics: nc1; nc2_equinorm, nc2_equiangularity and nc2_simplex of the class means, and the same _vectors of the
    centred class vectors; nc2_head; nc3 and nc3_cosine with centred vectors, nc3_raw without; nc4, the share of samples
    on which the head and the nearest class mean disagree; for K > D gnc1, gnc2, gnc2_vectors and gnc3.  Each metric
    that depends on features has a second one with the suffix _floor.  Without class vectors only nc1 and nc2 of the
    class means.

    Args:
        features: (N, D).
        labels: (N,) integers.
        num_classes: K; by default the number of class vectors, or one more than the largest label.
        class_vectors: (K, D).
        bias: of the head, (K,) or a single number.
        scale: of the head.
        scoring: "dot" or "cosine"; with "cosine", features and class vectors are normalised first.
        train: class statistics of the training split; if given, NC4 uses its class means.
        seed: of the random choice of classes for gnc2, if there are many.

    Raises:
        DataError: for NaN features, labels out of range, and fewer than two classes with samples.
        UsageError: for shapes that do not fit.

    Example:
        >>> measure(torch.eye(3).repeat(2, 1), torch.arange(3).repeat(2), class_vectors=torch.eye(3)).metrics["nc1"]
        0.0
    """
    features, labels, num_classes, class_vectors = checked_classes(features, labels, num_classes, class_vectors)
    scale, seed = finite("scale", scale, low=0), whole("seed", seed)
    if not isinstance(scoring, str) or scoring not in ("dot", "cosine"):
        raise unknown("scoring", scoring, ["dot", "cosine"])
    cosine = scoring == "cosine"
    statistics = class_statistics(features, labels, num_classes=num_classes)
    present = statistics.present
    means = _means(statistics, present, cosine)
    metrics: Metrics = {"nc1": variability(features, labels, statistics, normalised=cosine), "nc1_floor": 0.0}
    notes = statistics.notes
    if not centred(means).any():
        notes += ("all class means coincide: no nc1, nc2 and nc3",)
    if len(present) == 2:
        notes += ("two centred class means are always opposite and equally long: no nc2",)
    if class_vectors is None:
        return Findings(metrics | _simplex_metrics(centred(means)), {"classes": present}, notes)
    vectors = (unit(class_vectors) if cosine else class_vectors.double())[present]
    metrics |= _with_floors(geometry(centred(means), vectors), geometry(centred(vectors), vectors))
    metrics |= vector_geometry(vectors)
    references = means if train is None else _means(_checked_train(train, statistics), present, cosine)
    shift = 0.0 if bias is None else _checked_bias(bias, num_classes, features.device)[present]
    batches = (unit(h) if cosine else h.double() for h in features.split(ROWS))
    perfect = vectors if cosine else centred(vectors)
    metrics["nc4"] = disagreement(batches, scale * vectors, shift, references)
    if statistics.is_constant or (train is None and statistics.without_spread):
        metrics["nc4"] = None  # a single sample is its own nearest mean, and equal ones have none
    metrics["nc4_floor"] = disagreement([perfect], vectors, 0.0, perfect)
    if len(present) > features.shape[1]:
        generalised, more = _generalised(features, labels, statistics, vectors, means, seed)
        metrics, notes = metrics | generalised, notes + more
    return Findings(metrics, {"classes": present}, notes)


def variability(
    features: Tensor, labels: Tensor, statistics: ClassStatistics, *, normalised: bool = False
) -> float | None:
    """NC1 = Tr(S_W S_B^+) / K, as a sum of squares over the directions of S_B, so that it cannot be negative.

    S_W = mean over samples of (h - mu_y)(h - mu_y)^T, S_B = mean over classes of (mu_k - mu_G)(mu_k - mu_G)^T.  The
    directions are those torch.linalg.pinv keeps, at most K - 1.  None if the class means coincide, and if no class has
    two samples.
    """
    present = statistics.present
    if statistics.without_spread:
        return None
    all_means = statistics.unit_means if normalised else statistics.means
    moved = centred(all_means[present]) / len(present) ** 0.5
    with threads(1):
        _, lengths, directions = torch.linalg.svd(moved, full_matrices=False)
    kept = lengths.square() > moved.shape[1] * torch.finfo(torch.float64).eps * lengths[0].square()
    if not kept.any():
        return None
    scaled = (directions[kept] / lengths[kept, None]).T
    squares = torch.zeros((), dtype=torch.float64, device=features.device)
    for h, y in zip(features.split(ROWS), labels.long().split(ROWS), strict=True):
        h = unit(h) if normalised else h.double()
        squares += total(((h - all_means[y]) @ scaled).square())
    return number(squares / len(features) / len(present))


def geometry(moved: Tensor, vectors: Tensor) -> Metrics:
    """The metrics NC2 and NC3 of centred class means (M, D) and the class vectors (M, D) they should align with."""
    heads = centred(vectors)
    metrics = _simplex_metrics(moved)
    metrics["nc2_head"] = _gram_distance(moved, heads)
    metrics["nc3"] = _matrix_distance(moved, heads)
    metrics["nc3_raw"] = _matrix_distance(moved, vectors)
    metrics["nc3_cosine"] = _cosine(moved, heads)
    return metrics


def vector_geometry(vectors: Tensor) -> Metrics:
    """How close centred class vectors (M, D) are to a simplex: nc2_..._vectors."""
    return {f"{name}_vectors": value for name, value in _simplex_metrics(centred(vectors)).items()}


def disagreement(batches: Iterable[Tensor], vectors: Tensor, bias: Tensor | float, means: Tensor) -> float:
    """NC4: share of features, in batches (B, D), whose largest logit h.w_k + b_k and nearest mean differ.

    vectors (M, D), bias (M,) and means (M, D), all float64.
    """
    middle = means.mean(dim=0)
    moved = means - middle
    nearest = Largest(moved, -moved.square().sum(dim=1) / 2)
    predicted = Largest(vectors, vectors.new_zeros(len(vectors)) + bias)
    differ = count = 0
    for h in batches:
        differ += int((predicted(h) != nearest(h - middle)).sum())
        count += len(h)
    return differ / count


def _generalised(
    features: Tensor, labels: Tensor, statistics: ClassStatistics, vectors: Tensor, means: Tensor, seed: int
) -> tuple[Metrics, tuple[str, ...]]:
    """GNC1, GNC2 (the smallest distance of a unit vector to the convex hull of the others) and GNC3."""
    perfect, moved = centred(vectors), centred(means)
    examined = _margin.examined(len(vectors), seed)
    margins = [_margin.smallest(unit(rows), examined) for rows in (moved, perfect, vectors)]
    notes = [f"{name} is at least {m.bound:.4g}" for name, m in zip(GNC2, margins, strict=True) if not m.exact]
    if len(examined) < len(vectors):
        notes.append(f"gnc2 is the smallest over {len(examined)} of {len(vectors)} classes")
    metrics: Metrics = {
        "gnc1": variability(features, labels, statistics, normalised=True),
        "gnc1_floor": 0.0,
        "gnc2": margins[0].distance if moved.any() else None,
        "gnc2_floor": margins[1].distance,
        "gnc2_vectors": margins[2].distance,
        "gnc3": _distance(_cosine(moved, vectors)),
        "gnc3_floor": _distance(_cosine(perfect, vectors)),
    }
    return metrics, tuple(notes)


def _checked_bias(bias: Any, num_classes: int, device: torch.device) -> Tensor:
    """The bias per class, (K,) float64."""
    found = as_numbers("bias", bias, device=device).double()
    if found.shape not in ((), (1,), (num_classes,)):
        raise UsageError(f"bias must be ({num_classes},) or a number, got {tuple(found.shape)}", hint=OTHER_CLASSES)
    if not found.isfinite().all():
        raise DataError("bias contains NaN or infinity", hint="did the run diverge?")
    return found.reshape(-1).expand(num_classes)


def _checked_train(train: ClassStatistics, statistics: ClassStatistics) -> ClassStatistics:
    """The statistics of the training split, of the same classes and dimensions as those of this split."""
    check_type("train", train, ClassStatistics, "the result of `class_statistics`", hint="of the training split")
    if train.means.shape != statistics.means.shape:
        shapes = f"{tuple(statistics.means.shape)} means, got {tuple(train.means.shape)}"
        raise UsageError(f"train must have {shapes}", hint=OTHER_CLASSES)
    return train


def _means(statistics: ClassStatistics, present: Tensor, normalised: bool) -> Tensor:
    missing = int((statistics.counts[present] == 0).sum())
    if missing:
        raise UsageError(f"the training statistics have no sample of {missing} classes that this split has")
    return (statistics.unit_means if normalised else statistics.means)[present]


def _with_floors(metrics: Metrics, floors: Metrics) -> Metrics:
    return metrics | {f"{name}_floor": value for name, value in floors.items()}


def _simplex_metrics(moved: Tensor) -> Metrics:
    """NC2 of centred vectors (M, D): equal norms (std, with M - 1, over mean), equal angles, and both together."""
    m, norms = len(moved), moved.norm(dim=1)
    if not norms.any() or m == 2:  # of two centred vectors, one is always minus the other
        return dict.fromkeys(("nc2_equinorm", "nc2_equiangularity", "nc2_simplex"))
    # |G/|G| - S/|S||^2 = 2 - 2 <G, S>/(|G||S|), and with S = I - J/m, of norm sqrt(m - 1), <G, S> = tr G.
    inner = total(norms.square()) / (_gram_product(moved, moved) * (m - 1)).sqrt()
    return {
        "nc2_equinorm": number(norms.std() / norms.mean()),
        "nc2_equiangularity": _equiangularity(unit(moved)),
        "nc2_simplex": number((2 - 2 * inner).clamp_min(0).sqrt()),
    }


def _equiangularity(directions: Tensor) -> float:
    """Mean over pairs of |cos + 1/(M-1)|, in tiles."""
    m, gap = len(directions), 0.0
    for start, rows in zip(range(0, m, ROWS), directions.split(ROWS), strict=True):
        gaps = (rows @ directions[start:].T).clamp_(-1, 1).add_(1 / (m - 1)).abs_()
        gaps.diagonal().zero_()
        gap += float(total(gaps[:, : len(rows)])) + 2 * float(total(gaps[:, len(rows) :]))
    return gap / (m * (m - 1))


def _gram_distance(a: Tensor, b: Tensor) -> float | None:
    """|A A^T/|A A^T| - B B^T/|B B^T|| in Frobenius norm; None for two centred vectors, which have one Gram matrix."""
    lengths = (_gram_product(a, a) * _gram_product(b, b)).sqrt()
    if lengths == 0 or len(a) == 2:
        return None
    return number((2 - 2 * _gram_product(a, b) / lengths).clamp_min(0).sqrt())


def _gram_product(a: Tensor, b: Tensor) -> Tensor:
    """<A A^T, B B^T> of (M, D) matrices, from whichever of (M, M) and (D, D) is smaller: it is |A^T B|^2 too."""
    if len(a) <= a.shape[1]:
        return total((a @ a.T) * (b @ b.T))
    return total((a.T @ b).square())


def _matrix_distance(a: Tensor, b: Tensor) -> float | None:
    """Squared Frobenius distance of two matrices scaled to norm 1."""
    lengths = total(a.square()).sqrt(), total(b.square()).sqrt()
    return number(total((a / lengths[0] - b / lengths[1]).square())) if min(lengths) > 0 else None


def _cosine(a: Tensor, b: Tensor) -> float | None:
    """Mean cosine of matching rows; None if one side has no direction at all."""
    return number(mean((unit(a) * unit(b)).sum(dim=1))) if a.any() and b.any() else None


def _distance(cosine: float | None) -> float | None:
    return None if cosine is None else 1 - cosine
