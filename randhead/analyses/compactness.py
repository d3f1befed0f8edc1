"""Compactness: how tight each class is.

The metrics are two cosines that are often confused, of a feature to its class mean and to its class vector; d_within of
Kornblith et al. 2021 (arXiv 2010.16402); the ratio of within-class to between-class variance; CDNV, the class-distance
normalised variance of Galanti et al. 2021 (arXiv 2112.15121); and the norms and angles of the features of right and of
wrong predictions, as in the paper's official code.
"""

import torch
from torch import Tensor

from randhead.ambient import Array, mean, total
from randhead.analyses import ClassStatistics, Findings, Metric, Metrics, class_statistics
from randhead.analyses._inputs import (
    NOTHING,
    OF_FEATURES,
    OTHER_CLASSES,
    checked_classes,
    checked_vectors,
    degrees,
    number,
    unit,
)
from randhead.arguments import check_type
from randhead.arrays import as_classes, as_flags
from randhead.errors import DataError, UsageError

INPUT = "run"
HEADLINES = (
    "cosine_to_class_mean",
    "cosine_to_class_vector",
    "within_distance",
    "trace_ratio",
    "cdnv",
    "right_feature_norm",
    "wrong_feature_norm",
    "right_angle_deg",
    "wrong_angle_deg",
)
METRICS = {
    "cosine_to_class_mean": Metric(
        "cosine to class mean", "of a sample to the mean of its class", "higher", bounds=(-1, 1)
    ),
    "cosine_to_class_vector": Metric(
        "cosine to class vector", "of a sample to the vector of its class", "higher", bounds=(-1, 1)
    ),
    "within_distance": Metric(
        "distance within classes", "mean 1 - cosine of two samples of a class", "lower", bounds=(0, 2)
    ),
    "trace_ratio": Metric("variance within / between", "variance around class means over that of class means", "lower"),
    "cdnv": Metric("CDNV", "variance of two classes over the squared distance of their means, mean of pairs", "lower"),
    "right_feature_norm": Metric("feature norm, right", "mean length of the features of right predictions"),
    "wrong_feature_norm": Metric("feature norm, wrong", "mean length of the features of wrong predictions"),
    "right_angle_deg": Metric("angle to vector, right", "to the true class's, of right predictions", "lower", "deg"),
    "wrong_angle_deg": Metric("angle to vector, wrong", "to the true class's, of wrong predictions", "", "deg"),
}
ROWS = 256  # of a tile
CLOSE = 1e-3  # squared distances below this share of both squared norms are computed by differences


def measure(
    features: Array,
    labels: Array,
    *,
    num_classes: int | None = None,
    class_vectors: Array | None = None,
    predictions: Array | None = None,
) -> Findings:
    """How tight each class is.  Metrics and arrays: see `from_statistics`.

    Args:
        features: (N, D).
        labels: (N,) integers.
        num_classes: K; by default the number of class vectors, or one more than the largest label.
        class_vectors: (K, D), for cosines and angles to them.
        predictions: (N,) classes, to separate right from wrong ones.

    Raises:
        DataError: for NaN features, labels out of range, and fewer than two classes with samples.
        UsageError: for shapes that do not fit.

    Example:
        >>> features, labels = torch.eye(2).repeat(3, 1), torch.tensor([0, 1]).repeat(3)
        >>> measure(features, labels, num_classes=2).metrics["cosine_to_class_mean"]
        1.0
    """
    features, labels, num_classes, class_vectors = checked_classes(features, labels, num_classes, class_vectors)
    if predictions is not None:
        predictions = as_classes("predictions", predictions, device=labels.device)
        if predictions.shape != labels.shape:
            shapes = f"{tuple(predictions.shape)} and labels {tuple(labels.shape)}"
            raise UsageError(f"predictions {shapes} must be (N,)", hint="one predicted class per sample")
        if int(predictions.min()) < 0 or int(predictions.max()) >= num_classes:
            bounds = f"{int(predictions.min())}..{int(predictions.max())}"
            raise DataError(f"predictions must be in 0..{num_classes - 1}, got {bounds}", hint=OTHER_CLASSES)
    statistics = class_statistics(features, labels, num_classes=num_classes, class_vectors=class_vectors)
    correct = None if predictions is None else predictions == labels
    return from_statistics(statistics, class_vectors=class_vectors, correct=correct)


def from_statistics(
    statistics: ClassStatistics, *, class_vectors: Tensor | None = None, correct: Tensor | None = None
) -> Findings:
    """Compactness from class statistics.

    Metrics: cosine_to_class_mean, cosine_to_class_vector, within_distance (mean cosine distance of two samples of a
    class), trace_ratio = Tr(S_W) / Tr(S_B), cdnv; and right_ and wrong_ feature_norm and angle_deg (to the vector of
    the true class).  Arrays: classes (K',), per class class_mean_cosines and class_vector_cosines, per sample norms,
    angles_deg and correct.

    Args:
        statistics: of the classes.
        class_vectors: (K, D).
        correct: whether each prediction is right (N,) bool, in the order of the samples.
    """
    check_type("statistics", statistics, ClassStatistics, "the result of `class_statistics`", hint=OF_FEATURES)
    correct = None if correct is None else as_flags("correct", correct, len(statistics.norms))
    present = statistics.present
    units, means = statistics.unit_means[present], statistics.means[present]
    to_mean = (units * unit(means)).sum(dim=1)
    metrics: Metrics = {
        "cosine_to_class_mean": number(mean(to_mean)),
        "within_distance": number((1 - units.square().sum(dim=1).mean()).clamp_min(0)),
        "trace_ratio": _trace_ratio(statistics, means),
        "cdnv": cdnv(means, statistics.scatter[present] / statistics.counts[present]),
    }
    arrays = {"classes": present, "class_mean_cosines": to_mean, "norms": statistics.norms}
    if class_vectors is not None:
        class_vectors = checked_vectors(class_vectors, *statistics.means.shape)
        to_vector = (units * unit(class_vectors)[present]).sum(dim=1)
        metrics["cosine_to_class_vector"] = number(mean(to_vector))
        arrays["class_vector_cosines"] = to_vector
    if statistics.target_cosines is not None:
        arrays["angles_deg"] = degrees(statistics.target_cosines)
    if correct is not None:
        metrics |= _sides(arrays, correct)
        arrays["correct"] = correct
    notes = statistics.notes
    if metrics["cdnv"] is None:
        notes += ("class means coincide: no cdnv" + ("" if metrics["trace_ratio"] is not None else ", no trace_ratio"),)
    if statistics.without_spread:
        metrics |= dict.fromkeys(("cosine_to_class_mean", "within_distance", "trace_ratio", "cdnv"))
    return Findings(metrics, arrays, notes + _one_sided(correct))


def _one_sided(correct: Tensor | None) -> tuple[str, ...]:
    """The note if all predictions are right, or all are wrong: the other side has no means."""
    if correct is None or 0 < int(correct.sum()) < len(correct):
        return ()
    return (f"all predictions are {'right' if bool(correct.all()) else 'wrong'}: the others have no means",)


def cdnv(means: Tensor, variances: Tensor) -> float | None:
    """Mean over pairs of classes of (v_i + v_j) / (2 |mu_i - mu_j|^2): means (M, D), variances (M,).

    None if two means coincide.
    """
    ratios, scale = 0.0, float(means.norm(dim=1).max())
    moved = means - means.mean(dim=0)  # exact for close means far from 0, which would lose their digits in a product
    squares = moved.square().sum(dim=1)
    for start in range(0, len(means), ROWS):
        rows = slice(start, start + ROWS)
        distances = _squared_distances(moved[rows], moved[start:], squares[rows], squares[start:])
        distances.diagonal().fill_(torch.inf)
        if float(distances.min()) <= (NOTHING * scale) ** 2:
            return None
        found = (variances[rows, None] + variances[start:]).div_(distances)
        count = len(found)  # the first square has each pair twice
        ratios += float(total(found[:, :count])) / 2 + float(total(found[:, count:]))
    return ratios / (len(means) * (len(means) - 1))


def _squared_distances(a: Tensor, b: Tensor, a_squares: Tensor, b_squares: Tensor) -> Tensor:
    """|a_i - b_j|^2 of rows (R, D) and (M, D) with their squared norms (R,) and (M,): (R, M) float64.

    |a|^2 + |b|^2 - 2 a.b is off by (D + 4) 2^-53 (|a|^2 + |b|^2) at most.  What is less than CLOSE of that sum is
    computed by differences, so that no distance is off by more than 6e-11 of itself for D = 512.
    """
    sums = a_squares[:, None] + b_squares
    distances = torch.addmm(sums, a, b.T, alpha=-2)
    first, second = (distances < CLOSE * sums).nonzero(as_tuple=True)
    if 4 * len(first) > distances.numel():
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()
    for i, j in zip(first.split(ROWS), second.split(ROWS), strict=True):
        distances[i, j] = (a[i] - b[j]).square().sum(dim=1)
    return distances


def _trace_ratio(statistics: ClassStatistics, means: Tensor) -> float | None:
    """Tr(S_W) / Tr(S_B): variance of the samples around their class means over that of the class means."""
    moved = means - means.mean(dim=0)
    between = moved.square().sum(dim=1).mean()
    if between.sqrt() <= NOTHING * means.norm(dim=1).max():
        return None
    return number(statistics.scatter.sum() / statistics.counts.sum() / between)


def _sides(arrays: dict[str, Tensor], correct: Tensor) -> Metrics:
    """Mean norm and angle of right and of wrong predictions; None if there are none."""
    kinds = {"feature_norm": arrays["norms"]}
    if "angles_deg" in arrays:
        kinds["angle_deg"] = arrays["angles_deg"]
    sides = {"right": correct.bool(), "wrong": ~correct.bool()}
    return {f"{s}_{kind}": number(mean(x[mask])) for s, mask in sides.items() for kind, x in kinds.items()}
