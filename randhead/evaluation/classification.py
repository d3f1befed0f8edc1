"""Figures of a trained model on a split, each a function of all its images: none counts twice or not at all."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from randhead.analyses import transfer
from randhead.datasets import Split
from randhead.evaluation import metrics
from randhead.evaluation.features import embeddings, extract
from randhead.losses import HeadOutput
from randhead.model import Classifier
from randhead.preprocess import Preprocess

OOD_SCORES = ("maximum_probability", "maximum_logit", "energy", "maximum_cosine")
CONFUSION_CLASSES = 1000  # of more, the matrix would be larger than all that is in it


def evaluate(
    model: Classifier, split: Split, preprocess: Preprocess, *, stop: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Top-1, top-5, NLL, calibration, per-class accuracy, confusion and the official code's diagnostics.

    Values are Python numbers and lists; `None` where a figure does not exist (top-5 of five classes, a class without
    images).  Raises StopRequested where `stop` answers True.
    """
    features, answers = extract(model, split, preprocess, stop=stop)
    return figures(features, answers, split.labels.cpu(), model.head.num_classes)


def figures(features: Tensor, answers: HeadOutput, labels: Tensor, num_classes: int) -> dict[str, Any]:
    """The figures of `evaluate`, of features (N, D), what the head says of them, and labels (N,)."""
    predictions, confidences = answers.predictions, answers.confidences
    by_class = metrics.per_class_accuracy(labels, predictions, num_classes)
    top1, right = metrics.accuracy(predictions, labels), predictions == labels
    return {
        "n": len(labels),
        "accuracy": top1,
        "accuracy_standard_error": metrics.binomial_error(top1, len(labels)),
        "top5_accuracy": metrics.accuracy(answers.classes, labels, k=5) if num_classes > 5 else None,
        "nll": answers.losses.mean().item(),
        "ece": metrics.calibration_error(confidences, right),
        "ece_equal_mass": metrics.calibration_error(confidences, right, scheme="equal mass"),
        "per_class_accuracy": [none_if_nan(value) for value in by_class.tolist()],
        **confusions(labels, predictions, num_classes),
        "diagnostics": metrics.diagnostics(features, answers.largest_cosine, right),
    }


def confusions(labels: Tensor, predictions: Tensor, num_classes: int) -> dict[str, Any]:
    """`confusion`, the matrix (K, K), a row a true class; of more than CONFUSION_CLASSES, `confused_pairs` instead.

    These are all [class, answer, images] of wrong answers, the most frequent first.
    """
    if num_classes > CONFUSION_CLASSES:
        return {"confused_pairs": metrics.confused_pairs(labels, predictions).tolist()}
    return {"confusion": metrics.confusion(labels, predictions, num_classes).tolist()}


def quick_figures(
    model: Classifier, split: Split, preprocess: Preprocess, *, stop: Callable[[], bool] = lambda: False
) -> dict[str, float]:
    """What selects a model: accuracy and NLL, and the range of the logits."""
    _, answers = extract(model, split, preprocess, stop=stop)
    return {
        "accuracy": metrics.accuracy(answers.predictions, split.labels.cpu()),
        "nll": answers.losses.mean().item(),
        "logit_min": answers.lowest.min().item(),
        "logit_max": answers.logits.max().item(),
    }


def neighbour_figures(
    model: Classifier,
    split: Split,
    train: Split,
    preprocess: Preprocess,
    *,
    num_classes: int,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """How often the nearest training images have the label of an image: `accuracy` of 20 neighbours, and of one.

    For models whose class vectors do not stand for the labels: neither NLL nor ECE exist.  On the training split an
    image finds itself, so only 20 neighbours say something there.
    """
    features, gallery = (embeddings(model, part, preprocess, stop=stop) for part in (split, train))
    found = transfer.neighbours(features, split.labels.cpu(), gallery, train.labels.cpu(), num_classes=num_classes)
    top = found["knn_20"]
    return {
        "n": len(split),
        "accuracy": top,
        "accuracy_standard_error": metrics.binomial_error(top, len(split)),
        **found,
        "nll": None,
        "ece": None,
    }


def out_of_distribution(
    model: Classifier,
    familiar: Split,
    strange: Split,
    preprocess: Preprocess,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, dict[str, float]]:
    """AUROC and the false positive rate at 95 percent recall of four scores, of images the classes do not cover."""
    inside, outside = (ood_scores(model, split, preprocess, stop=stop) for split in (familiar, strange))
    return {
        name: {
            "auroc": metrics.auroc(inside[name], outside[name]),
            "fpr_at_95_recall": metrics.fpr_at(inside[name], outside[name]),
        }
        for name in OOD_SCORES
    }


def ood_scores(
    model: Classifier, split: Split, preprocess: Preprocess, *, stop: Callable[[], bool] = lambda: False
) -> dict[str, Tensor]:
    """The four scores of every image of a split, (N,) each, high for what looks familiar.

    The largest softmax probability: Hendrycks and Gimpel 2017 (arXiv 1610.02136).  The largest logit: Hendrycks et al.
    2022 (arXiv 1911.11132).  The log-sum-exp of the logits, the negative free energy: Liu et al. 2020.  And the largest
    cosine to a class vector, 0 for a zero feature.
    """
    _, answers = extract(model, split, preprocess, stop=stop)
    scores = answers.confidences, answers.logits[:, 0], answers.log_sum, answers.largest_cosine
    return dict(zip(OOD_SCORES, scores, strict=True))


def none_if_nan(value: float) -> float | None:
    """NaN has no place in JSON."""
    return None if value != value else value
