"""Metrics of a classifier's predictions: accuracy, calibration, confusion, out-of-distribution detection.

Pure functions of a few numbers per sample, which `losses.HeadOutput` has for any number of classes.  They compute in
float64 on the device of their arguments, which are tensors, arrays of NumPy or lists.  Out-of-distribution scores are
high for in-distribution samples.  If there is nothing to average, the result is NaN or None, as each function says, or
a DataError, never zero.
"""

import math

import torch
from torch import Tensor

from randhead.ambient import Array, indices, mean
from randhead.arguments import check_type, whole
from randhead.errors import DataError, UsageError, unknown
from randhead.metrics._arguments import classes, flags, numbers, same_length

__all__ = [
    "BINS",
    "accuracy",
    "auroc",
    "average_precision",
    "binomial_error",
    "calibration_error",
    "calibration_gaps",
    "confused_pairs",
    "confusion",
    "diagnostics",
    "fpr_at",
    "per_class_accuracy",
    "risk_coverage_area",
]

MOST_BINS = 1_000_000
MOST_CONFUSED = 40_000  # classes: a matrix of 12 GiB
BINS = 15  # of the calibration error
ROUNDING = 1e-6  # a probability this far outside [0, 1] is a mistake; below, it is the rounding of float32


def accuracy(predictions: Array, labels: Array, *, k: int = 1) -> float:
    """Top-k accuracy: share of samples whose label is among the first k predictions.

    Args:
        predictions: class indices (N,), or (N, J) with the best first and J >= k.
        labels: (N,).
        k: number of predictions that count.

    Example:
        >>> accuracy(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 2, 2]))
        0.75
    """
    k = whole("k", k, low=1)
    labels, predictions = classes("labels", labels), classes("predictions", predictions, ndims=(1, 2))
    predictions = predictions[:, None] if predictions.ndim == 1 else predictions
    same_length("labels", len(predictions), labels)
    if predictions.shape[1] < k:
        message = f"top-{k} accuracy needs {k} predictions per sample, got {predictions.shape[1]}"
        raise UsageError(message, hint="give the best classes of each sample, (N, k), best first")
    return (predictions[:, :k] == labels[:, None]).any(dim=1).double().mean().item()


def calibration_error(confidences: Array, correct: Array, *, bins: int = BINS, scheme: str = "equal width") -> float:
    """Expected calibration error: mean of |accuracy - confidence| over bins, weighted by their counts.

    Args:
        confidences: (N,) in [0, 1].
        correct: (N,) bool.
        bins: number of bins.
        scheme: "equal width" has the bins ((i-1)/bins, i/bins] (Guo et al. 2017, "On calibration of modern neural
            networks"); "equal mass" has bins of equally many samples in order of confidence (Nixon et al. 2019), where
            samples of equal confidence share their mean accuracy, so that their order does not matter.

    Raises:
        DataError: for confidences that are not probabilities.

    Example:
        >>> round(calibration_error(torch.tensor([0.9, 0.9]), torch.tensor([True, False])), 4)
        0.4
    """
    confidences, bins = _probabilities(confidences), whole("bins", bins, low=1, high=MOST_BINS)
    correct = flags("correct", correct, len(confidences)).double()
    if scheme == "equal width":
        gaps = calibration_gaps(confidences, correct, bins=bins)
    elif scheme == "equal mass":
        confidences, correct = _sorted_by_confidence(confidences, correct)
        index = indices(len(confidences), confidences.device) * bins // len(confidences)
        gaps = _sums(index, correct - confidences, bins)
    else:
        raise unknown("scheme of calibration bins", scheme, ["equal width", "equal mass"])
    return (gaps.abs().sum() / len(confidences)).item()


def calibration_gaps(confidences: Tensor, correct: Tensor, *, bins: int = BINS) -> Tensor:
    """Sum of correct - confidence over the samples of each equal-width bin: (N,), (N,) -> (bins,) float64.

    Gaps of batches can be added up: the calibration error of all batches is the sum of their absolute values, divided
    by the number of samples.
    """
    check_type("confidences", confidences, Tensor, "a tensor", hint="`calibration_error` takes lists too")
    check_type("correct", correct, Tensor, "a tensor", hint="`calibration_error` takes lists too")
    if confidences.ndim != 1 or correct.shape != confidences.shape:
        shapes = f"{tuple(confidences.shape)} and {tuple(correct.shape)}"
        raise UsageError(f"confidences and correct must have one value per sample, (N,), got {shapes}", hint="flatten")
    bins = whole("bins", bins, 1, MOST_BINS)
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=confidences.device)
    return _sums(torch.bucketize(confidences.double(), edges[1:-1]), correct.double() - confidences, bins)


def confusion(labels: Array, predictions: Array, num_classes: int) -> Tensor:
    """Counts of (label, prediction): two (N,) tensors of class indices -> (K, K) int64, one row per true class."""
    if whole("num_classes", num_classes, low=1) > MOST_CONFUSED:
        message = f"num_classes of a confusion matrix must be at most {MOST_CONFUSED}, got {num_classes}"
        raise UsageError(message, hint="`confused_pairs` has the cells that are not 0")
    labels, predictions = classes("labels", labels, num_classes), classes("predictions", predictions, num_classes)
    same_length("labels", len(predictions), labels)
    cells = labels * num_classes + predictions
    return torch.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def confused_pairs(labels: Array, predictions: Array) -> Tensor:
    """The wrong predictions in `confusion` without its zeros: (P, 3) int64 of (label, prediction, count).

    The most frequent come first, equally frequent ones by label and prediction.
    """
    labels, predictions = classes("labels", labels), classes("predictions", predictions)
    if labels.shape != predictions.shape:
        same_length("labels", len(predictions), labels)
    wrong = labels != predictions
    pairs, counts = torch.stack((labels[wrong], predictions[wrong]), dim=1).unique(dim=0, return_counts=True)
    order = counts.argsort(descending=True, stable=True)
    return torch.cat((pairs, counts[:, None]), dim=1)[order]


def per_class_accuracy(labels: Array, predictions: Array, num_classes: int) -> Tensor:
    """Accuracy per class: two (N,) tensors -> (K,) float64, NaN for a class without samples."""
    num_classes = whole("num_classes", num_classes, low=1)
    labels, predictions = classes("labels", labels, num_classes), classes("predictions", predictions)
    same_length("labels", len(predictions), labels)
    right = torch.bincount(labels[labels == predictions], minlength=num_classes)
    return right.double() / torch.bincount(labels, minlength=num_classes).double()


def binomial_error(accuracy: float, n: int) -> float:
    """Standard error of an accuracy in [0, 1] measured on n samples."""
    check_type("accuracy", accuracy, (int, float), "a number in [0, 1]", hint="a share, not percent")
    n = whole("n", n, low=1)
    if isinstance(accuracy, bool) or not 0 <= accuracy <= 1:
        raise UsageError(f"accuracy must be a number in [0, 1], got {accuracy}", hint="a share, not percent")
    return math.sqrt(accuracy * (1 - accuracy) / n)


def risk_coverage_area(confidences: Array, correct: Array) -> float:
    """Area under the risk-coverage curve (AURC): the mean error among the n most confident samples, over n = 1..N.

    Geifman, Uziel and El-Yaniv 2019 (arXiv 1805.08206); lower is better.  Samples of equal confidence share their mean
    error, so that their order does not matter.

    Args:
        confidences: (N,), of any range.
        correct: (N,) bool.

    Example:
        >>> risk_coverage_area(torch.tensor([0.9, 0.5]), torch.tensor([True, False]))
        0.25
    """
    confidences = numbers("confidences", confidences)
    correct = flags("correct", correct, len(confidences)).double()
    _, accuracies = _sorted_by_confidence(confidences, correct)
    counts = indices(len(correct), correct.device).double() + 1
    return ((1 - accuracies.flip(0)).cumsum(0) / counts).mean().item()


def average_precision(positive: Array, negative: Array) -> float:
    """Area under the precision-recall curve (AUPR) as average precision: sum of (R_n - R_n-1) P_n over thresholds.

    As `sklearn.metrics.average_precision_score`: samples with equal scores have one threshold.  A random score reaches
    the share of positive samples, so values of sets of other sizes cannot be compared.

    Args:
        positive: (N,) scores of the samples that should score high.
        negative: (M,) scores of the others.

    Example:
        >>> round(average_precision(torch.tensor([3.0, 1.0]), torch.tensor([2.0])), 4)
        0.8333
    """
    positive, negative = _check_scores(positive, negative, ("positive", "negative"))
    scores = torch.cat((positive, negative))
    truth = torch.zeros(len(scores), dtype=torch.float64, device=scores.device)
    truth[: len(positive)] = 1
    scores, order = scores.sort(descending=True, stable=True)
    _, counts = scores.unique_consecutive(return_counts=True)
    ends = counts.cumsum(0) - 1  # the last sample of each threshold
    found = truth[order].cumsum(0)[ends]
    gained = torch.diff(found, prepend=torch.zeros_like(found[:1]))
    return (gained * found / (ends + 1)).sum().item() / len(positive)


def auroc(in_scores: Array, out_scores: Array) -> float:
    """Probability that an in-distribution sample scores above an out-of-distribution one, ties counted half.

    Args:
        in_scores: (N,) scores of in-distribution samples.
        out_scores: (M,) scores of out-of-distribution samples.

    Example:
        >>> auroc(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 2.0]))
        0.875
    """
    in_scores, out_scores = _check_scores(in_scores, out_scores, ("in_scores", "out_scores"))
    ordered = out_scores.sort().values
    below = torch.searchsorted(ordered, in_scores.contiguous())
    not_above = torch.searchsorted(ordered, in_scores.contiguous(), right=True)
    return int((below + not_above).sum()) / (2 * len(in_scores) * len(out_scores))


def fpr_at(in_scores: Array, out_scores: Array, *, recall: float = 0.95) -> float:
    """False positive rate: share of out-of-distribution samples (M,) above the threshold of a given recall.

    The threshold is the highest that accepts `recall` of the in-distribution samples (N,).
    """
    in_scores, out_scores = _check_scores(in_scores, out_scores, ("in_scores", "out_scores"))
    check_type("recall", recall, (int, float), "a number in (0, 1]", hint="for example `recall=0.95`")
    if isinstance(recall, bool) or not 0 < recall <= 1:
        raise UsageError(f"recall must be a number in (0, 1], got {recall}", hint="for example `recall=0.95`")
    accepted = math.ceil(recall * len(in_scores) - 1e-9)  # 0.95 * 20 is 19 samples, not 20, in spite of rounding
    threshold = in_scores.sort(descending=True).values[accepted - 1]
    return (out_scores >= threshold).double().mean().item()


def diagnostics(features: Array, cosines: Array, correct: Array) -> dict[str, dict[str, float | None]]:
    """Mean feature norm and mean largest cosine to a class vector, for right and for wrong predictions.

    These are the two numbers that the paper's official code prints; None if there is no right or no wrong prediction.

    Args:
        features: (N, D).
        cosines: the largest cosine of each sample (N,).
        correct: whether each prediction is right (N,) bool.
    """
    features, cosines = numbers("features", features, ndim=2), numbers("cosines", cosines)
    correct = flags("correct", correct, len(features))
    same_length("cosines", len(features), cosines)
    values = {"feature_norm": features.norm(dim=1), "largest_cosine": cosines}
    sides = {"right": correct, "wrong": ~correct}
    return {
        name: {side: mean(value[mask]).item() if mask.any() else None for side, mask in sides.items()}
        for name, value in values.items()
    }


def _probabilities(confidences: Array) -> Tensor:
    """Confidences (N,) as float64 in [0, 1], without the rounding of a softmax.  Raises DataError for others."""
    found = numbers("confidences", confidences)
    if not ((found > -ROUNDING) & (found < 1 + ROUNDING)).all():
        low, high = float(found.min()), float(found.max())
        raise DataError(
            f"confidences must be probabilities in [0, 1], got {low:.7g} to {high:.7g}", hint="did the run diverge?"
        )
    return found.clamp(0, 1)


def _sums(index: Tensor, values: Tensor, bins: int) -> Tensor:
    """Sum of the values (N,) of each bin, index (N,) -> (bins,) float64."""
    return torch.zeros(bins, dtype=torch.float64, device=index.device).index_add_(0, index, values.double())


def _sorted_by_confidence(confidences: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    confidences, order = confidences.sort()
    _, group, counts = confidences.unique_consecutive(return_inverse=True, return_counts=True)
    shared = torch.zeros(len(counts), dtype=correct.dtype, device=correct.device).index_add_(0, group, correct[order])
    return confidences, (shared / counts)[group]


def _check_scores(positive: Array, negative: Array, names: tuple[str, str]) -> tuple[Tensor, Tensor]:
    """Scores of two kinds of samples, (N,) and (M,) float64 on one device.  Raises an error for others."""
    given = dict(zip(names, (positive, negative), strict=True))
    found = [numbers(name, scores) for name, scores in given.items()]
    for name, scores in zip(names, found, strict=True):
        if not len(scores):
            raise DataError(f"{name} must be (N,) with N >= 1, got no sample", hint="give samples of both kinds")
    return found[0], found[1].to(found[0].device)
