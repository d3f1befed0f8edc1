"""What a training is for: telling classes apart, or telling every image from every other.

A task says which labels the loss sees, and how a model is judged.
"""

from collections.abc import Callable
from typing import Any

import torch

from randhead.config import Config
from randhead.datasets import Dataset
from randhead.errors import UsageError
from randhead.evaluation import classification
from randhead.model import Classifier
from randhead.preprocess import Preprocess
from randhead.runs import SelectedEpoch

Stop = Callable[[], bool]


class ClassTask:
    """The classes of the data set."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset
        self.num_classes = len(dataset.class_names)
        self.labels = dataset.splits["train"].labels

    def validate(self, model: Classifier, preprocess: Preprocess, *, stop: Stop) -> dict[str, float]:
        """What selects a model: accuracy first, then NLL."""
        return classification.quick_metrics(model, self.dataset.splits["val"], preprocess, should_stop=stop)

    def evaluate(self, model: Classifier, split: str, preprocess: Preprocess, *, stop: Stop) -> dict[str, Any]:
        """All figures of a split."""
        return classification.full_metrics(model, self.dataset.splits[split], preprocess, should_stop=stop).to_json()


class InstanceTask:
    """Every training image a class of its own: instance discrimination (Wu et al. 2018, arXiv 1805.01978).

    The model is judged by the real labels, which training never sees: the share of images whose nearest training images
    have the same label.
    """

    def __init__(self, dataset: Dataset):
        self.dataset = dataset
        self.num_classes = len(dataset.splits["train"])
        self.labels = torch.arange(self.num_classes)

    def validate(self, model: Classifier, preprocess: Preprocess, *, stop: Stop) -> dict[str, float]:
        """What selects a model: the accuracy of 20 neighbours."""
        found = self.evaluate(model, "val", preprocess, stop=stop)
        return {key: found[key] for key in ("accuracy", "knn_1")}

    def evaluate(self, model: Classifier, split: str, preprocess: Preprocess, *, stop: Stop) -> dict[str, Any]:
        """Accuracy of 20 neighbours and of one, of a split."""
        splits = self.dataset.splits
        return classification.neighbour_metrics(
            model,
            splits[split],
            splits["train"],
            preprocess,
            num_classes=len(self.dataset.class_names),
            should_stop=stop,
        ).to_json()


def of(config: Config, dataset: Dataset) -> ClassTask | InstanceTask:
    """The task of a configuration.  Raises UsageError for class names where there are none."""
    if config.data.labels == "class":
        return ClassTask(dataset)
    if config.head.class_keys == "name":
        raise UsageError("instance labels have no names", hint='use `class_keys="index"`')
    return InstanceTask(dataset)


def usual_augmentation(config: Config) -> str:
    """What varies the images: views where every image is a class, unless the user gives crops their size."""
    return "views" if config.data.labels == "instance" and config.data.crop_padding is None else "crop"


def rank(epoch: SelectedEpoch) -> tuple[float, float]:
    """The order in which epochs are selected: higher accuracy, then lower NLL if there is one."""
    return epoch.accuracy, -(epoch.nll or 0.0)
