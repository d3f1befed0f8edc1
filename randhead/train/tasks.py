"""The task of a training: to distinguish classes, or to distinguish every image from all others.

A task defines the labels for the loss, and the metrics by which a model is validated and tested.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from randhead.ambient import indices
from randhead.config import Config
from randhead.datasets import Dataset
from randhead.errors import UsageError
from randhead.evaluation import classification
from randhead.evaluation.classification import ClassificationMetrics, NeighbourMetrics
from randhead.model import Classifier
from randhead.preprocess import Preprocess
from randhead.runs import SelectedEpoch

ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class ValidationMetrics:
    """The metrics that select the weights and are logged once per epoch; None if one does not apply to the task."""

    accuracy: float
    nll: float | None = None
    knn_1: float | None = None
    logit_min: float | None = None
    logit_max: float | None = None

    def is_finite(self) -> bool:
        """Whether all metrics that are not None are finite."""
        return all(value is None or math.isfinite(value) for value in vars(self).values())


class Task(Protocol):
    """The interface of a task.

    Attributes:
        num_classes: number of class vectors.
        labels: (N,) int64, the target classes of the training images.
    """

    num_classes: int
    labels: Tensor

    def validate(
        self, model: Classifier, preprocess: Preprocess, *, should_stop: ShouldStop = ...
    ) -> ValidationMetrics:
        """Compute the metrics on the validation split that select the weights.  Raises StopRequested."""
        ...

    def evaluate(
        self, model: Classifier, split: str, preprocess: Preprocess, *, should_stop: ShouldStop = ...
    ) -> ClassificationMetrics | NeighbourMetrics:
        """Compute all metrics on a split.  Raises StopRequested."""
        ...


class ClassTask:
    """Distinguish the classes of the dataset."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset
        self.num_classes = len(dataset.class_names)
        self.labels = dataset.splits["train"].labels

    def validate(
        self, model: Classifier, preprocess: Preprocess, *, should_stop: ShouldStop = lambda: False
    ) -> ValidationMetrics:
        """Compute accuracy, NLL, and the range of the logits."""
        split = self.dataset.splits["val"]
        return ValidationMetrics(**classification.quick_metrics(model, split, preprocess, should_stop=should_stop))

    def evaluate(
        self, model: Classifier, split: str, preprocess: Preprocess, *, should_stop: ShouldStop = lambda: False
    ) -> ClassificationMetrics:
        """Compute all classification metrics on a split."""
        return classification.full_metrics(model, self.dataset.splits[split], preprocess, should_stop=should_stop)


class InstanceTask:
    """Distinguish every training image from all others: instance discrimination (Wu et al. 2018, arXiv 1805.01978).

    The model is evaluated with the real labels, which training does not use: k-NN accuracy among the training images.
    """

    def __init__(self, dataset: Dataset):
        self.dataset = dataset
        self.num_classes = len(dataset.splits["train"])
        self.labels = indices(self.num_classes)

    def validate(
        self, model: Classifier, preprocess: Preprocess, *, should_stop: ShouldStop = lambda: False
    ) -> ValidationMetrics:
        """Compute the k-NN accuracy with 20 neighbours, and with one."""
        found = self.evaluate(model, "val", preprocess, should_stop=should_stop)
        return ValidationMetrics(accuracy=found.accuracy, knn_1=found.knn_1)

    def evaluate(
        self, model: Classifier, split: str, preprocess: Preprocess, *, should_stop: ShouldStop = lambda: False
    ) -> NeighbourMetrics:
        """Compute the k-NN accuracy on a split with 20 neighbours, and with one."""
        return classification.neighbour_metrics(model, self.dataset, split, preprocess, should_stop=should_stop)


def of(config: Config, dataset: Dataset) -> Task:
    """The task of a configuration.

    Raises:
        UsageError: for instance labels with class vectors keyed by name.
    """
    if config.data.labels == "class":
        return ClassTask(dataset)
    if config.head.class_keys == "name":
        raise UsageError("instance labels have no names", hint='use `class_keys="index"`')
    return InstanceTask(dataset)


def usual_augmentation(config: Config) -> str:
    """The default augmentation: views if every image is a class and no crop padding is set, otherwise crops."""
    return "views" if config.data.labels == "instance" and config.data.crop_padding is None else "crop"


def rank(epoch: SelectedEpoch) -> tuple[float, float]:
    """The key by which the best epoch is selected: higher accuracy, then lower NLL if there is one."""
    return epoch.accuracy, -(epoch.nll or 0.0)
