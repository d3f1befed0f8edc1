"""The metrics of a grid: those of its cells, and their means."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from randhead import corruptions
from randhead.corruptions import SEVERITIES
from randhead.intervals import Interval, per_image, wilson
from randhead.robustness import metrics
from randhead.robustness.accumulator import Accumulator, CellMetrics
from randhead.robustness.settings import CLEAN, Grid

MEAN = "mean"  # the name of the mean over the benchmark, beside those of corruptions and groups


@dataclass(frozen=True)
class GridMetrics:
    """The metrics of a grid, without its clean images.

    Attributes:
        cells: by corruption and severity.
        mean_standard_error: of the mean over the benchmark, over images; None without corruptions of the benchmark.
        intervals: 95 percent intervals of accuracies, over images: of "mean", over the benchmark, and of each group.
        imagenet: `mce` and `relative_mce`, for the benchmark on ImageNet-1k.
    """

    cells: Mapping[str, Mapping[int, CellMetrics]]
    mean_standard_error: float | None
    imagenet: Mapping[str, float] | None = None
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def errors(self) -> dict[str, list[float]]:
        """The errors of each corruption, by ascending severity."""
        return {name: [cell.error for cell in row.values()] for name, row in self.cells.items()}

    @property
    def _grouped(self) -> dict[str, list[float]]:
        """The errors of the corruptions that have a group, which those of the user alone do not."""
        known = corruptions.names()
        return {name: row for name, row in self.errors.items() if name in known}

    @property
    def accuracies(self) -> dict[str, dict[int, float]]:
        """Accuracy by corruption and severity."""
        return {name: {s: cell.accuracy for s, cell in row.items()} for name, row in self.cells.items()}

    @property
    def severities(self) -> list[int]:
        """All severities that at least one corruption has."""
        return sorted({severity for row in self.cells.values() for severity in row})

    @property
    def is_complete(self) -> bool:
        """Whether the grid has all of the benchmark's 15 corruptions at five severities."""
        return all(len(self.cells.get(name, ())) == len(SEVERITIES) for name in metrics.benchmark())

    @property
    def mean_over(self) -> str:
        """The corruptions and severities of the mean, in words: "14 of 15 corruptions, severities 1, 3, 5"."""
        return mean_over({name: tuple(row) for name, row in self.cells.items()})

    @property
    def mean_accuracy(self) -> float | None:
        """Mean accuracy over the benchmark's corruptions in the grid; None if there are none."""
        if not any(name in self.cells for name in metrics.benchmark()):
            return None
        return 1 - metrics.mean_error(self._grouped, partial=not self.is_complete)

    @property
    def groups(self) -> dict[str, tuple[float, str]]:
        """Mean accuracy of each group, and the number of its corruptions in the grid: "3 of 4"."""
        return {group: (1 - error, there) for group, (error, there) in metrics.group_errors(self._grouped).items()}

    def to_json(self) -> dict[str, Any]:
        """The document.

        `mean_corruption_accuracy` is the mean over 15 corruptions at five severities.  If some are missing it is None,
        and `partial_mean_corruption_accuracy` is the mean over those in the grid.
        """
        mean = self.mean_accuracy
        return {
            "corruptions": {name: {str(s): a for s, a in row.items()} for name, row in self.accuracies.items()},
            "mean_corruption_accuracy": mean if self.is_complete else None,
            **({} if self.is_complete else {"partial_mean_corruption_accuracy": mean}),
            "mean_corruption_accuracy_standard_error": self.mean_standard_error,
            "mean_corruption_accuracy_interval": self._interval(MEAN),
            "mean_over": self.mean_over,
            "groups": {
                group: {"accuracy": accuracy, "accuracy_interval": self._interval(group), "corruptions": there}
                for group, (accuracy, there) in self.groups.items()
            },
            "cells": {name: {str(s): asdict(cell) for s, cell in row.items()} for name, row in self.cells.items()},
            **({"imagenet": {"denominators": "AlexNet", **self.imagenet}} if self.imagenet else {}),
        }

    def _interval(self, name: str) -> dict[str, Any] | None:
        found = self.intervals.get(name)
        return None if found is None else found.to_json()


def grid_metrics(
    accumulator: Accumulator, grid: Grid, class_names: Sequence[str], *, clean_error: float
) -> GridMetrics:
    """Compute the metrics of a grid.

    Args:
        accumulator: the results of the cells.
        grid: the cells.
        class_names: names of the classes of the model; mCE is only defined for ImageNet-1k.
        clean_error: error on clean images, for relative mCE.
    """
    cells = {
        name: {severity: accumulator.metrics(name, severity) for severity in severities}
        for name, severities in grid.items()
        if name != CLEAN
    }
    scores = image_scores(accumulator, grid)
    means = {MEAN: mean_score(scores)}
    means |= {group: mean_score(scores, members) for group, members in corruptions.groups().items()}
    over_images = {name: accuracy_interval(score) for name, score in means.items() if score is not None}
    mean = means[MEAN]
    found = GridMetrics(cells, None if mean is None else _standard_error(mean), intervals=over_images)
    if found.is_complete and metrics.is_imagenet(class_names):
        return replace(found, imagenet=metrics.imagenet_errors(found.errors, clean_error))
    return found


def mean_over(grid: Mapping[str, Sequence[int]]) -> str:
    """The corruptions and severities of a mean over the benchmark: "14 of 15 corruptions, severities 1, 3, 5"."""
    rows = [severities for name, severities in grid.items() if name in metrics.benchmark()]
    full = bool(rows) and all(len(row) == len(SEVERITIES) for row in rows)
    row = rows[0] if rows else ()
    word = "severity" if len(row) == 1 else "severities"
    severities = "all severities" if full else f"{word} {', '.join(map(str, row))}"
    return f"{metrics.coverage(list(grid))} corruptions, {severities}"


def mean_label(over: str) -> str:
    """How a mean over the benchmark is called in tables and pictures: "mean over 14 of 15 corruptions"."""
    return f"mean over {over.partition(',')[0]}"


def image_scores(accumulator: Accumulator, grid: Grid) -> dict[str, Tensor]:
    """Share of severities at which each image is classified correctly, by corruption: float64 (N,)."""
    return {
        name: torch.stack([accumulator.correct(name, severity) for severity in severities]).double().mean(dim=0)
        for name, severities in grid.items()
        if name != CLEAN
    }


def mean_score(scores: Mapping[str, Tensor], group: Sequence[str] | None = None) -> Tensor | None:
    """The mean over the corruptions of a group, by default the benchmark, of the score of each image: float64 (N,).

    None if none of them is in `scores`.
    """
    members = [scores[name] for name in (metrics.benchmark() if group is None else group) if name in scores]
    return torch.stack(members).mean(dim=0) if members else None


def accuracy_interval(scores: Tensor) -> Interval:
    """The interval of an accuracy from the score of each image, (N,) in [0, 1], which all cells share.

    Wilson's if every image is right or wrong in all cells, as in a single one.
    """
    if bool((scores == scores.round()).all()):
        return wilson(int(scores.sum()), len(scores))
    found = per_image((1 - scores).tolist())
    return replace(found, low=1 - found.high, high=1 - found.low).within(0.0, 1.0)


def _standard_error(scores: Tensor) -> float:
    """Standard error of the mean over images of their scores, (N,)."""
    return (scores.std(correction=0) / len(scores) ** 0.5).item()
