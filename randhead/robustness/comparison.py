"""Comparison of two models on the same images with the same noise."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from randhead.intervals import Interval, paired, per_image
from randhead.robustness import metrics
from randhead.robustness.accumulator import Accumulator
from randhead.robustness.grid_metrics import MEAN, image_scores, mean_over, mean_score
from randhead.robustness.settings import CLEAN, Grid

INTERVAL = (
    "95 percent, paired by image: Tango's score interval and McNemar's mid-p test for a cell, t for means over cells"
)


@dataclass(frozen=True)
class Difference:
    """A difference in accuracy on the same images with its 95 percent interval.

    Attributes:
        difference: the accuracy less that of the baseline.
        low: lower limit.
        high: upper limit.
        method: "mcnemar" for a single cell, "student" over images for a mean over cells.
    """

    difference: float
    low: float
    high: float
    method: str = "mcnemar"


@dataclass(frozen=True)
class CorruptionDifference(Difference):
    """The difference for a corruption, mean over severities, with errors relative to those of the baseline.

    Attributes:
        ce: corruption error, the ratio of the errors; None if the baseline has no errors.
        relative_ce: the ratio of the increases in error over clean images; None if the baseline has no increase.
    """

    ce: float | None = None
    relative_ce: float | None = None


@dataclass(frozen=True)
class Comparison:
    """The differences between a run and a baseline on the same images with the same noise.

    Attributes:
        run: the baseline.
        interval: the kind of the intervals, in words.
        accuracy: difference on clean images.
        mean_corruption_accuracy: difference of the mean over the benchmark's corruptions in the grid, if any.
        mean_over: the corruptions and severities of that mean, in words.
        corruptions: differences by corruption.
        mean_ce: mean CE over the same corruptions, in percent.
        mean_relative_ce: mean relative CE over the same corruptions, in percent.
    """

    run: str
    interval: str
    accuracy: Difference
    mean_corruption_accuracy: Difference | None
    mean_over: str
    corruptions: Mapping[str, CorruptionDifference]
    mean_ce: float | None
    mean_relative_ce: float | None


def compare(accumulator: Accumulator, baseline: Accumulator, grid: Grid, baseline_name: str) -> Comparison:
    """Compare a model with a baseline on the same images with the same noise.

    Args:
        accumulator: results of the model, including the clean images.
        baseline: results of the baseline, with the same cells.
        grid: the cells to compare.
        baseline_name: name of the baseline.
    """
    ours, theirs = (scores(each, grid) for each in (accumulator, baseline))
    found = {name: difference(score - theirs[name]) for name, score in ours.items()}
    errors, baseline_errors = _errors(accumulator, grid), _errors(baseline, grid)
    clean, baseline_clean = (each.metrics(CLEAN, 0).error for each in (accumulator, baseline))
    ce = metrics.corruption_errors(errors, baseline_errors)
    relative_ce = metrics.relative_corruption_errors(errors, clean, baseline_errors, baseline_clean)
    return Comparison(
        run=baseline_name,
        interval=INTERVAL,
        accuracy=found[CLEAN],
        mean_corruption_accuracy=found.get(MEAN),
        mean_over=mean_over(grid),
        corruptions={
            name: CorruptionDifference(**vars(found[name]), ce=ce[name], relative_ce=relative_ce[name])
            for name in errors
        },
        mean_ce=metrics.mean_corruption_error(ce, partial=True) if MEAN in found else None,
        mean_relative_ce=metrics.mean_corruption_error(relative_ce, partial=True) if MEAN in found else None,
    )


def difference(gaps: Tensor) -> Difference:
    """The mean over images of the score of one model less that of another, (N,), with its interval."""
    found = interval(gaps)
    return Difference(float(gaps.mean()), found.low, found.high, found.method)


def interval(gaps: Tensor) -> Interval:
    """The interval of the mean over images of the score of one model less that of another, (N,)."""
    if bool((gaps == gaps.round()).all()):  # -1, 0 or 1 in every image: a single cell
        return paired(int((gaps > 0).sum()), int((gaps < 0).sum()), len(gaps))
    return per_image(gaps.tolist())


def scores(accumulator: Accumulator, grid: Grid) -> dict[str, Tensor]:
    """Scores of images: clean, by corruption, and their mean over the benchmark's corruptions, if there are any."""
    found = {CLEAN: accumulator.correct(CLEAN, 0).double(), **image_scores(accumulator, grid)}
    mean = mean_score(found)
    return found if mean is None else {**found, MEAN: mean}


def _errors(accumulator: Accumulator, grid: Grid) -> dict[str, list[float]]:
    """Errors of each corruption, by ascending severity, without the clean images."""
    return {
        name: [accumulator.metrics(name, severity).error for severity in severities]
        for name, severities in grid.items()
        if name != CLEAN
    }
