"""Figures of a classifier's answers: accuracy, calibration, confusion, out-of-distribution detection.

Pure functions of a few numbers a sample, which `losses.HeadOutput` has of any number of classes.  Float64 inside, on
the device of their arguments.  Every score of the out-of-distribution kind is high for what looks familiar.  Where
there is nothing to average the answer is NaN or None, as each function says, or a DataError: never a silent zero.
"""

import math

import torch
from torch import Tensor

from randhead.errors import DataError, UsageError, unknown

BINS = 15  # of the calibration error


def accuracy(answers: Tensor, labels: Tensor, *, k: int = 1) -> float:
    """Share of samples whose label is among the first k answers.

    answers (N,) or (N, J) of class indices, best first, with J >= k; labels (N,).
    """
    if k < 1:
        raise UsageError(f"accuracy needs k of at least 1, got {k}")
    if answers.is_floating_point():
        raise UsageError(f"answers must be class indices, best first, got {answers.dtype}")
    answers = answers[:, None] if answers.ndim == 1 else answers
    _check_count(len(answers), labels)
    if answers.shape[1] < k:
        raise UsageError(f"top-{k} accuracy needs {k} answers a sample, got {answers.shape[1]}")
    return (answers[:, :k] == labels[:, None]).any(dim=1).double().mean().item()


def calibration_error(confidences: Tensor, correct: Tensor, *, bins: int = BINS, scheme: str = "equal width") -> float:
    """Expected calibration error: mean over bins, by their counts, of |accuracy - confidence|.

    confidences (N,) in [0, 1], correct (N,) bool.  "equal width" bins are ((i-1)/bins, i/bins] (Guo et al. 2017, "On
    calibration of modern neural networks"); "equal mass" bins hold equally many samples in order of confidence (Nixon
    et al. 2019).  There, samples of equal confidence share their mean accuracy, so that their order does not matter.
    """
    _check_count(len(confidences), correct)
    confidences, correct = confidences.double(), correct.double()
    if not ((confidences >= 0) & (confidences <= 1)).all():
        raise DataError("confidences must be probabilities in [0, 1]", hint="did the run diverge?")
    if bins < 1:
        raise UsageError(f"calibration error needs at least 1 bin, got {bins}")
    if scheme == "equal width":
        gaps = calibration_gaps(confidences, correct, bins=bins)
    elif scheme == "equal mass":
        confidences, correct = _sorted_by_confidence(confidences, correct)
        index = torch.arange(len(confidences), device=confidences.device) * bins // len(confidences)
        gaps = _sums(index, correct - confidences, bins)
    else:
        raise unknown("scheme of calibration bins", scheme, ["equal width", "equal mass"])
    return (gaps.abs().sum() / len(confidences)).item()


def calibration_gaps(confidences: Tensor, correct: Tensor, *, bins: int = BINS) -> Tensor:
    """Sum of correct - confidence over the samples of each equal-width bin: (N,), (N,) -> (bins,) float64.

    Gaps of batches can be added up: the calibration error of all batches is the sum of their absolute values, divided
    by the number of samples.
    """
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=confidences.device)
    return _sums(torch.bucketize(confidences.double(), edges[1:-1]), correct.double() - confidences, bins)


def confusion(labels: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Counts of (label, prediction): two (N,) tensors of class indices -> (K, K) int64, a row a true class."""
    _check_classes(labels, num_classes, "labels")
    _check_classes(predictions, num_classes, "predictions")
    _check_count(len(predictions), labels)
    cells = labels.long() * num_classes + predictions.long()
    return torch.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def confused_pairs(labels: Tensor, predictions: Tensor) -> Tensor:
    """The wrong answers of `confusion` without its zeros: (P, 3) int64 of (label, prediction, count).

    The most frequent come first, equally frequent ones by label and prediction.
    """
    wrong = labels != predictions
    pairs, counts = torch.stack((labels[wrong], predictions[wrong]), dim=1).unique(dim=0, return_counts=True)
    order = counts.argsort(descending=True, stable=True)
    return torch.cat((pairs, counts[:, None]), dim=1)[order]


def per_class_accuracy(labels: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Share of each class's samples that are right: two (N,) tensors -> (K,) float64, NaN for an empty class."""
    _check_classes(labels, num_classes, "labels")
    _check_count(len(predictions), labels)
    right = torch.bincount(labels[labels == predictions], minlength=num_classes)
    return right.double() / torch.bincount(labels, minlength=num_classes).double()


def binomial_error(accuracy: float, n: int) -> float:
    """Standard error of an accuracy in [0, 1] measured on n samples."""
    if n < 1 or not 0 <= accuracy <= 1:
        raise UsageError(f"a binomial error needs an accuracy in [0, 1] and n >= 1, got {accuracy} and {n}")
    return math.sqrt(accuracy * (1 - accuracy) / n)


def auroc(in_scores: Tensor, out_scores: Tensor) -> float:
    """Probability that a familiar sample scores above a strange one, ties counted half.  (N,), (M,) scores."""
    _check_scores(in_scores, out_scores)
    ordered = out_scores.sort().values
    below = torch.searchsorted(ordered, in_scores.contiguous())
    not_above = torch.searchsorted(ordered, in_scores.contiguous(), right=True)
    return int((below + not_above).sum()) / (2 * len(in_scores) * len(out_scores))


def fpr_at(in_scores: Tensor, out_scores: Tensor, *, recall: float = 0.95) -> float:
    """Share of strange samples accepted by the highest threshold that accepts `recall` of the familiar ones."""
    _check_scores(in_scores, out_scores)
    if not 0 < recall <= 1:
        raise UsageError(f"recall must be in (0, 1], got {recall}")
    accepted = math.ceil(recall * len(in_scores) - 1e-9)  # 0.95 * 20 is 19 samples, not 20, whatever it rounds to
    threshold = in_scores.sort(descending=True).values[accepted - 1]
    return (out_scores >= threshold).double().mean().item()


def diagnostics(features: Tensor, cosines: Tensor, correct: Tensor) -> dict[str, dict[str, float | None]]:
    """Mean feature norm and mean largest cosine to a class vector, of right and of wrong answers.

    The two figures that the official code of the paper prints.  features (N, D), cosines (N,) the largest of each,
    correct (N,) bool; None where there is no such answer.
    """
    _check_count(len(features), correct)
    values = {"feature_norm": features.double().norm(dim=1), "largest_cosine": cosines.double()}
    sides = {"right": correct.bool(), "wrong": ~correct.bool()}
    return {
        name: {side: value[mask].mean().item() if mask.any() else None for side, mask in sides.items()}
        for name, value in values.items()
    }


def _sums(index: Tensor, values: Tensor, bins: int) -> Tensor:
    """Sum of the values (N,) of each bin, index (N,) -> (bins,) float64."""
    return torch.zeros(bins, dtype=torch.float64, device=index.device).index_add_(0, index, values.double())


def _sorted_by_confidence(confidences: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    confidences, order = confidences.sort()
    _, group, counts = confidences.unique_consecutive(return_inverse=True, return_counts=True)
    shared = torch.zeros(len(counts), dtype=correct.dtype, device=correct.device).index_add_(0, group, correct[order])
    return confidences, (shared / counts)[group]


def _check_count(n: int, others: Tensor) -> None:
    if others.ndim != 1 or len(others) != n:
        raise UsageError(f"{n} samples meet values of shape {tuple(others.shape)}: one a sample is needed")
    if n == 0:
        raise DataError("there are no samples to measure")


def _check_classes(classes: Tensor, num_classes: int, what: str) -> None:
    if classes.is_floating_point() or classes.ndim != 1:
        raise UsageError(f"{what} must be class indices of shape (N,), got {classes.dtype} {tuple(classes.shape)}")
    if len(classes) and (int(classes.min()) < 0 or int(classes.max()) >= num_classes):
        raise DataError(
            f"{what} must be in 0..{num_classes - 1}, got {int(classes.min())}..{int(classes.max())}",
            hint="is this a dataset with other classes than the run was trained on?",
        )


def _check_scores(in_scores: Tensor, out_scores: Tensor) -> None:
    for name, scores in (("familiar", in_scores), ("strange", out_scores)):
        if scores.ndim != 1 or not len(scores):
            raise DataError(f"scores of the {name} samples must be (N,) with N >= 1, got {tuple(scores.shape)}")
        if scores.isnan().any():
            raise DataError(f"scores of the {name} samples hold NaN", hint="did the run diverge?")
