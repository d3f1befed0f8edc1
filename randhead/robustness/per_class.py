"""Accuracy per class under corruptions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from randhead.intervals import Interval, of_accuracy
from randhead.robustness import metrics
from randhead.robustness.accumulator import Accumulator
from randhead.robustness.grid_metrics import accuracy_interval, image_scores, mean_score
from randhead.robustness.settings import CLEAN, Grid


@dataclass(frozen=True)
class ClassAccuracy:
    """Accuracies for the images of one class; None if there are no images.

    Attributes:
        n: number of images.
        accuracy: on clean images.
        mean_corruption_accuracy: mean over the benchmark's corruptions in the grid.
        corruptions: accuracy by corruption, mean over severities.
        accuracy_interval: 95 percent interval of `accuracy`.
        mean_corruption_accuracy_interval: 95 percent interval of `mean_corruption_accuracy`, over images.
    """

    n: int
    accuracy: float | None
    mean_corruption_accuracy: float | None
    corruptions: Mapping[str, float]
    accuracy_interval: Interval | None = None
    mean_corruption_accuracy_interval: Interval | None = None


def class_accuracies(
    accumulator: Accumulator, grid: Grid, labels: Tensor, class_names: Sequence[str]
) -> dict[str, ClassAccuracy]:
    """Compute the accuracies of each class, by name.

    Args:
        accumulator: the results of the cells, including the clean images.
        grid: the cells.
        labels: labels of the images (N,) int64.
        class_names: K names.
    """
    labels, benchmark = labels.cpu(), metrics.benchmark()
    counts = labels.bincount(minlength=len(class_names))
    columns = {CLEAN: accumulator.correct(CLEAN, 0).double(), **image_scores(accumulator, grid)}
    zeros = torch.zeros(len(counts), dtype=torch.float64, device=counts.device)
    means = {name: (zeros.index_add(0, labels, column) / counts).tolist() for name, column in columns.items()}
    scores = mean_score(columns)
    found = {}
    for k, (class_name, n) in enumerate(zip(class_names, counts.tolist(), strict=True)):
        values = {name: column[k] for name, column in means.items()} if n else {}
        members = [value for name, value in values.items() if name in benchmark]
        clean = values.pop(CLEAN, None)
        mean = sum(members) / len(members) if members else None
        interval = None if mean is None or scores is None else accuracy_interval(scores[labels == k])
        found[class_name] = ClassAccuracy(n, clean, mean, values, of_accuracy(clean, n), interval)
    return found
