"""Metrics of a trained model on a split; each uses every image of the split exactly once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from randhead import metrics
from randhead.ambient import mean
from randhead.analyses import transfer
from randhead.datasets import Dataset, Split
from randhead.evaluation.features import embeddings, extract
from randhead.intervals import Interval, as_document, of_accuracy, wilson
from randhead.losses import HeadOutput
from randhead.model import Classifier
from randhead.preprocess import Preprocess

DRAWN_CLASSES = 1000  # of a confusion matrix: the cells of a larger one would be smaller than a pixel
PER_CLASS = ("per_class_accuracy", "per_class_n", "confused_pairs")  # entries whose size grows with the classes
NEIGHBOURS = 20  # training images that vote on the class of an image


@dataclass(frozen=True)
class ClassificationMetrics:
    """Metrics of the predictions of a model on a split; None for a metric that does not apply.

    `brier` is the Brier score, 0 to 2; `aurc` the area under the risk-coverage curve, of the largest probability.
    `confused_pairs` has all wrong predictions as [true class, predicted class, number of images], the most frequent
    first: the entries of the confusion matrix off its diagonal that are not 0.  `diagnostics` are the two means that
    the paper's official code prints.
    """

    n: int
    accuracy: float
    accuracy_standard_error: float
    accuracy_interval: Interval
    top5_accuracy: float | None  # None for 5 classes or fewer
    top5_accuracy_interval: Interval | None
    nll: float  # nats
    brier: float
    aurc: float
    ece: float
    ece_equal_mass: float
    per_class_accuracy: list[float | None] = field(repr=False)
    per_class_n: list[int] = field(repr=False)
    confused_pairs: list[list[int]] = field(repr=False)
    diagnostics: dict[str, dict[str, float | None]] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The metrics ready for JSON."""
        return as_document(self)

    def summary(self) -> dict[str, Any]:
        """The same without the entries per class, which `evaluate` writes."""
        return {name: value for name, value in self.to_json().items() if name not in PER_CLASS}

    def confusion(self) -> list[list[int]]:
        """The confusion matrix: number of images by true class (row) and predicted class (column)."""
        classes = range(len(self.per_class_n))
        counts = [[0] * len(classes) for _ in classes]
        for true, predicted, count in self.confused_pairs:
            counts[true][predicted] = count
        for k in classes:
            counts[k][k] = self.per_class_n[k] - sum(counts[k])
        return counts

    def most_confused_with(self, label: int) -> tuple[int, int] | None:
        """The class most often predicted instead of `label`, and for how many images; None if there is none."""
        row = [(count, other) for true, other, count in self.confused_pairs if true == label]
        count, other = max(row, default=(0, 0), key=lambda pair: pair[0])
        return (other, count) if count else None


@dataclass(frozen=True)
class NeighbourMetrics:
    """k-NN metrics: labels of a split predicted from the nearest training images; NLL and ECE do not apply."""

    n: int
    accuracy: float  # of 20 neighbours
    accuracy_standard_error: float
    accuracy_interval: Interval
    knn_1: float
    knn_20: float

    def to_json(self) -> dict[str, Any]:
        """The metrics ready for JSON."""
        return {**as_document(self), "nll": None, "ece": None}

    summary = to_json


def full_metrics(
    model: Classifier, split: Split, preprocess: Preprocess, *, should_stop: Callable[[], bool] = lambda: False
) -> ClassificationMetrics:
    """Compute accuracy, NLL, calibration, accuracy per class, confusion, and the diagnostics of the official code.

    Args:
        model: a classifier, which is put into evaluation mode.
        split: images with their labels.
        preprocess: turns the images into the input of the model.
        should_stop: called between batches.

    Raises:
        StopRequested: if `should_stop` returns True.
    """
    features, scores = extract(model, split, preprocess, should_stop=should_stop)
    return metrics_of(features, scores, split.labels.cpu(), model.head.num_classes)


def metrics_of(features: Tensor, scores: HeadOutput, labels: Tensor, num_classes: int) -> ClassificationMetrics:
    """The metrics of `full_metrics` from features (N, D), the output of the head for them, and labels (N,)."""
    predictions, confidences = scores.predictions, scores.confidences
    per_class = metrics.per_class_accuracy(labels, predictions, num_classes)
    top1, right = metrics.accuracy(predictions, labels), predictions == labels
    top5 = metrics.accuracy(scores.classes, labels, k=5) if num_classes > 5 else None
    return ClassificationMetrics(
        n=len(labels),
        accuracy=top1,
        accuracy_standard_error=metrics.binomial_error(top1, len(labels)),
        accuracy_interval=wilson(int(right.sum()), len(labels)),
        top5_accuracy=top5,
        top5_accuracy_interval=of_accuracy(top5, len(labels)),
        nll=mean(scores.losses).item(),
        brier=mean(scores.brier_scores).item(),
        aurc=metrics.risk_coverage_area(confidences, right),
        ece=metrics.calibration_error(confidences, right),
        ece_equal_mass=metrics.calibration_error(confidences, right, scheme="equal mass"),
        per_class_accuracy=[none_if_nan(value) for value in per_class.tolist()],
        per_class_n=labels.bincount(minlength=num_classes).tolist(),
        confused_pairs=metrics.confused_pairs(labels, predictions).tolist(),
        diagnostics=metrics.diagnostics(features, scores.largest_cosine, right),
    )


def quick_metrics(
    model: Classifier, split: Split, preprocess: Preprocess, *, should_stop: Callable[[], bool] = lambda: False
) -> dict[str, float]:
    """Compute the metrics by which the weights of a run are selected, accuracy and NLL, and the range of the logits.

    Raises:
        StopRequested: if `should_stop` returns True.
    """
    _, scores = extract(model, split, preprocess, should_stop=should_stop)
    return {
        "accuracy": metrics.accuracy(scores.predictions, split.labels.cpu()),
        "nll": mean(scores.losses).item(),
        "logit_min": scores.lowest.min().item(),
        "logit_max": scores.logits.max().item(),
    }


def neighbour_metrics(
    model: Classifier,
    dataset: Dataset,
    split: str,
    preprocess: Preprocess,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> NeighbourMetrics:
    """Compute the k-NN accuracy of a split by cosine to the features of the training split.

    For models whose class vectors do not belong to the labels.  On the training split every image is its own nearest
    neighbour, so that only the accuracy with 20 neighbours is meaningful there.

    Raises:
        StopRequested: if `should_stop` returns True.
    """
    parts = dataset.splits[split], dataset.splits["train"]
    queries, gallery = (embeddings(model, part, preprocess, should_stop=should_stop) for part in parts)
    labels, train_labels = (part.labels.cpu() for part in parts)
    found = transfer.neighbours(queries, labels, gallery, train_labels, num_classes=len(dataset.class_names))
    knn_1, knn_20 = (float(found[f"knn_{k}"] or 0.0) for k in (1, NEIGHBOURS))
    n = len(labels)
    interval = wilson(round(knn_20 * n), n)
    return NeighbourMetrics(n, knn_20, metrics.binomial_error(knn_20, n), interval, knn_1, knn_20)


def none_if_nan(value: float) -> float | None:
    """None in place of NaN, which JSON does not have."""
    return None if value != value else value
