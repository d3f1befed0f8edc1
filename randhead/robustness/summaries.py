"""From accumulators to metrics: of a grid, of classes, and of the difference between two models."""

from collections.abc import Sequence

import torch
from torch import Tensor

from randhead.robustness import metrics
from randhead.robustness.accumulator import Accumulator
from randhead.robustness.results import (
    ClassAccuracy,
    Comparison,
    CorruptionDifference,
    Difference,
    GridMetrics,
    mean_over,
)
from randhead.robustness.settings import CLEAN, Grid

INTERVAL = "95 percent, paired bootstrap over images"
MEAN = "mean"  # the column of the mean over the benchmark, beside those of corruptions


def grid_metrics(
    accumulator: Accumulator, grid: Grid, class_names: Sequence[str], *, clean_error: float
) -> GridMetrics:
    """The metrics of the cells of a grid.

    Args:
        accumulator: has the cells.
        grid: which cells.
        class_names: of the classes of the model; mCE is only defined for those of ImageNet-1k.
        clean_error: error on clean images, for relative mCE.
    """
    cells = {
        name: {severity: accumulator.metrics(name, severity) for severity in severities}
        for name, severities in grid.items()
        if name != CLEAN
    }
    benchmark = metrics.benchmark()
    members = [score for name, score in image_scores(accumulator, grid).items() if name in benchmark]
    found = GridMetrics(cells, _standard_error(torch.stack(members)) if members else None)
    if found.is_complete and metrics.is_imagenet(class_names):
        imagenet = metrics.imagenet_errors(found.errors, clean_error)
        return GridMetrics(found.cells, found.mean_standard_error, imagenet)
    return found


def image_scores(accumulator: Accumulator, grid: Grid) -> dict[str, Tensor]:
    """For each corruption, the share of severities at which each image is classified correctly: float64 (N,)."""
    return {
        name: torch.stack([accumulator.correct(name, severity) for severity in severities]).double().mean(dim=0)
        for name, severities in grid.items()
        if name != CLEAN
    }


def class_accuracies(
    accumulator: Accumulator, grid: Grid, labels: Tensor, class_names: Sequence[str]
) -> dict[str, ClassAccuracy]:
    """The accuracies of each class, by name.

    Args:
        accumulator: has the cells and the clean images.
        grid: which cells.
        labels: (N,) int64, of the images.
        class_names: K names.
    """
    labels, benchmark = labels.cpu(), metrics.benchmark()
    counts = labels.bincount(minlength=len(class_names))
    columns = {CLEAN: accumulator.correct(CLEAN, 0).double(), **image_scores(accumulator, grid)}
    zeros = torch.zeros(len(counts), dtype=torch.float64)
    means = {name: (zeros.index_add(0, labels, column) / counts).tolist() for name, column in columns.items()}
    found = {}
    for k, (class_name, n) in enumerate(zip(class_names, counts.tolist(), strict=True)):
        values = {name: column[k] for name, column in means.items()} if n else {}
        members = [value for name, value in values.items() if name in benchmark]
        clean = values.pop(CLEAN, None)
        found[class_name] = ClassAccuracy(n, clean, sum(members) / len(members) if members else None, values)
    return found


def compare(
    accumulator: Accumulator, baseline: Accumulator, grid: Grid, baseline_name: str, *, seed: int = 0
) -> Comparison:
    """How a model differs from a baseline on the same images with the same noise.

    Args:
        accumulator: of the model, with the clean images.
        baseline: of the baseline, with the same cells.
        grid: which cells.
        baseline_name: name of the baseline.
        seed: of the bootstrap.
    """
    scores, baseline_scores = (_columns(each, grid) for each in (accumulator, baseline))
    names = list(scores)
    stacked, baseline_stacked = (torch.stack([each[name] for name in names], 1) for each in (scores, baseline_scores))
    intervals = metrics.paired_bootstrap(stacked, baseline_stacked, seed=seed)
    found = {
        name: Difference(*values)
        for name, *values in zip(names, *(column.tolist() for column in intervals), strict=True)
    }
    errors, baseline_errors = _errors(accumulator, grid), _errors(baseline, grid)
    clean, baseline_clean = (each.metrics(CLEAN, 0).error for each in (accumulator, baseline))
    ce = metrics.corruption_errors(errors, baseline_errors)
    relative_ce = metrics.relative_corruption_errors(errors, clean, baseline_errors, baseline_clean)
    return Comparison(
        run=baseline_name,
        interval=INTERVAL,
        draws=metrics.DRAWS,
        accuracy=found[CLEAN],
        mean_corruption_accuracy=found.get(MEAN),
        mean_over=mean_over(grid),
        corruptions={
            name: CorruptionDifference(
                found[name].difference, found[name].low, found[name].high, ce=ce[name], relative_ce=relative_ce[name]
            )
            for name in errors
        },
        mean_ce=metrics.mean_corruption_error(ce, partial=True) if MEAN in found else None,
        mean_relative_ce=metrics.mean_corruption_error(relative_ce, partial=True) if MEAN in found else None,
    )


def _columns(accumulator: Accumulator, grid: Grid) -> dict[str, Tensor]:
    """Scores of images: clean, by corruption, and their mean over the benchmark's corruptions, if there are any."""
    scores = {CLEAN: accumulator.correct(CLEAN, 0).double(), **image_scores(accumulator, grid)}
    benchmark = metrics.benchmark()
    members = [score for name, score in scores.items() if name in benchmark]
    return {**scores, MEAN: torch.stack(members).mean(dim=0)} if members else scores


def _errors(accumulator: Accumulator, grid: Grid) -> dict[str, list[float]]:
    """Errors of each corruption, by ascending severity, without the clean images."""
    return {
        name: [accumulator.metrics(name, severity).error for severity in severities]
        for name, severities in grid.items()
        if name != CLEAN
    }


def _standard_error(scores: Tensor) -> float:
    """Of a mean over corruptions: scores (C, N).  Cells share their images, so an image counts once."""
    per_image = scores.mean(dim=0)
    return (per_image.std(correction=0) / len(per_image) ** 0.5).item()
