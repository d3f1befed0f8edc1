"""Pictures of a study: values of all arms paired by seed, curves of training, accuracy by severity of corruptions."""

from collections.abc import Iterator, Mapping, Sequence
from math import nan
from typing import Any

import numpy as np

from randhead.evaluation.estimates import Estimate, estimate
from randhead.evaluation.shown import ends
from randhead.report._matplotlib import Axes, Figure, MaxNLocator
from randhead.report.canvas import GREY, WIDTH, label, log_scale, look, mark_zero, panels, short
from randhead.report.sections import Picture
from randhead.report.study.styles import Style, legend, legend_height
from randhead.study import metrics
from randhead.study.metrics import CONVERGED
from randhead.study.records import RunRecord
from randhead.study.result import StudyResult
from randhead.tables import Metric, capitalised, count

Styles = Mapping[str, Style]
Curves = Mapping[str, list[tuple[np.ndarray, bool]]]  # by arm: values per epoch, and whether the run diverged
BySeverity = dict[tuple[int, int], list[float]]  # of a run, by its seeds

FEW_ARMS = 5  # whose names fit below a picture of the usual width
PER_ARM = 0.62  # inches, of more arms
WIDE = 8.0  # inches, of a picture with several marks per arm
SHIFT = 0.16  # of the mean from the values of an arm, in distances between arms
HEIGHT = 4.3  # inches, without a legend
DODGE = 0.6  # distance between the first and the last arm at a severity
LONG = 6  # epochs; with fewer there is no second half to show
POINTS = 80  # of a curve of one run; a picture of this width cannot show more
CURVES = (
    ("val_accuracy", "validation accuracy (%)", 100.0, "Validation accuracy after each epoch"),
    ("train_loss", "training loss (nats)", 1.0, "Mean training loss of each epoch"),
)


def paired(result: StudyResult, styles: Styles) -> Iterator[Picture]:
    """For each metric the values of all runs, those with the same seeds connected, and differences from the control."""
    for key in result.keys:
        grid = _values(result, key)
        if key != CONVERGED and len(np.unique(grid[np.isfinite(grid)])) > 1:
            about = metrics.about(key)
            with look():
                figure = _paired(result, key, grid, styles)
            better = f", {about.better} is better" if about.better else ""
            yield Picture(key, f"{capitalised(about.name)}{better}: {about.definition}.", figure)


def curves(result: StudyResult, styles: Styles) -> Iterator[Picture]:
    """Validation accuracy and training loss per epoch: a thin line per run, a thick one per arm."""
    for key, axis, scale, what in CURVES:
        found = {arm: _curves(records, key, scale) for arm, records in result.by_arm.items()}
        found = {arm: each for arm, each in found.items() if each}
        if found:
            with look():
                figure = _drawn_curves(found, styles, axis, is_loss=key == "train_loss")
            diverged = any(record.diverged for record in result.records)
            crosses = " A cross is where a run diverged; the mean is over the others." if diverged else ""
            yield Picture(key, f"{what}: thin lines are runs, thick ones means of an arm.{crosses}", figure)


def severities(result: StudyResult, styles: Styles) -> Iterator[Picture]:
    """Accuracy under corruptions by severity, as means over corruptions and runs with 95 percent intervals."""
    found = {arm: _by_severity(records) for arm, records in result.by_arm.items()}
    found = {arm: rows for arm, rows in found.items() if rows}
    if not found:
        return
    with look():
        figure = _drawn_severities(result, found, styles)
    kinds = len(next(record.corruptions for record in result.records if record.corruptions))
    words = (
        f"Mean accuracy over {count(kinds, 'corruption')}, higher is better, and below it the differences of runs with "
        f"the same seeds from {result.study.control}; bands and bars are 95 % intervals over runs."
    )
    yield Picture("severities", words, figure)


def _values(result: StudyResult, key: str) -> np.ndarray:
    """The values of a metric as tables show them, (pairs of seeds, arms); NaN for a run without one."""
    found = {(record.arm, record.seeds): record.value(key) for record in result.records}
    seeds = dict.fromkeys(record.seeds for record in result.records)
    rows = [[found.get((arm.name, pair)) for arm in result.study.arms] for pair in seeds]
    return metrics.about(key).scale * np.array(rows, dtype=float)  # None becomes NaN


def _paired(result: StudyResult, key: str, grid: np.ndarray, styles: Styles) -> Figure:
    """Values above, differences from the control below, with the arms in the same order on both x axes."""
    about, names = metrics.about(key), [arm.name for arm in result.study.arms]
    width = WIDTH if len(names) <= FEW_ARMS else 1.2 + PER_ARM * len(names)
    figure, (above, below) = panels(width, 4.6, rows=2, height_ratios=[5, 3], sharex=True)
    xs = np.arange(len(names))
    lines = np.column_stack([grid, np.full(len(grid), nan)]).ravel()  # one path for all: a gap after each
    above.plot(np.tile([*xs, nan], len(grid)), lines, color=GREY, linewidth=0.8, alpha=0.6)
    means = {arm.name: arm.means.get(key) for arm in result.arms}
    differences = {each.first: each.estimate for each in result.differences if each.metric == key}
    for x, name in enumerate(names):
        style = styles[name]
        above.plot(np.full(len(grid), x), grid[:, x], style.mark, color=style.colour, markersize=3.5, alpha=0.6)
        _dot(above, x + SHIFT, about, means[name], style)
        _dot(below, x, about, differences.get(name), style, of_difference=True)
    mark_zero(below)
    control = names.index(result.study.control)
    below.plot(control, 0, styles[result.study.control].mark, color=styles[result.study.control].colour,
               markerfacecolor="none", markersize=6)  # fmt: skip
    _name_axes(above, below, about, names)
    return figure


def _name_axes(above: Axes, below: Axes, about: Metric, names: Sequence[str]) -> None:
    """The metric and its unit, the direction that is better, and the names of the arms."""
    unit = f" ({about.unit})" if about.unit else ""
    above.set(ylabel=f"{about.name}{unit}")
    above.set_title(f"{about.better} is better" if about.better else "", fontsize=8, color=GREY)
    of_difference = f"\n({about.difference_unit})" if about.unit else ""
    below.set(ylabel=f"difference{of_difference}", xlim=(-0.4, len(names) - 0.5))
    slope: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
    below.set_xticks(range(len(names)), [short(name) for name in names], **(slope if len(names) > 2 else {}))
    for axes in (above, below):
        axes.grid(axis="y", alpha=0.25)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))


def _dot(
    axes: Axes, x: float, about: Metric, found: Estimate | None, style: Style, *, of_difference: bool = False
) -> None:
    """A mean, or a difference, with its interval."""
    if found is None:
        return
    bar = ends(about, found, of_difference=of_difference)
    axes.plot([x] * len(bar), bar, color=style.colour, linewidth=2)
    axes.plot(x, about.scale * found.value, style.mark, color=style.colour, markersize=6.5)


def _curves(records: Sequence[RunRecord], key: str, scale: float) -> list[tuple[np.ndarray, bool]]:
    """The curve of every run that has one, and whether the run diverged."""
    found = [(record.curves.get(key), bool(record.diverged)) for record in records]
    return [
        (scale * np.array(curve, dtype=float), diverged)  # None becomes NaN
        for curve, diverged in found
        if curve and any(value is not None for value in curve)
    ]


def _drawn_curves(found: Curves, styles: Styles, axis: str, *, is_loss: bool) -> Figure:
    """All epochs; of accuracies, which come close to each other, below them the second half in its own scale."""
    longest = max(len(curve) for members in found.values() for curve, _ in members)
    rows = 1 if is_loss or longest < LONG else 2
    figure, (axes, *half) = panels(height=HEIGHT + legend_height(found), rows=rows)
    for part, first in zip((axes, *half), (0, longest // 2), strict=False):
        for arm, members in found.items():
            _arm_curves(part, [(curve[first:], diverged) for curve, diverged in members], first, styles[arm], arm)
        part.set(ylabel=axis)
        part.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))  # also for a single epoch
        part.grid(axis="y", alpha=0.25)
    everything = np.concatenate([curve[np.isfinite(curve)] for members in found.values() for curve, _ in members])
    if is_loss and len(everything) and everything.min() > 0 and everything.max() > 10 * everything.min():
        log_scale(axes)
    (half or [axes])[-1].set_xlabel("epoch")
    legend(figure, axes)
    return figure


def _arm_curves(axes: Axes, members: Sequence[tuple[np.ndarray, bool]], first: int, style: Style, arm: str) -> None:
    """The runs of an arm, and the mean of those that did not diverge, from an epoch on."""
    lines: list[tuple[float, float]] = []  # one path for all, with a gap after each
    for curve, diverged in members:
        lines += [(first + x + 1, curve[x]) for x in _thinned(len(curve))] + [(nan, nan)]
        if diverged and len(curve):
            axes.plot(first + len(curve), curve[-1], "x", color=style.colour, markersize=6)
    axes.plot(*np.array(lines).T, color=style.colour, linewidth=0.6, alpha=0.4)
    whole = [curve for curve, diverged in members if not diverged]
    shortest = min(map(len, whole), default=0)
    mean = np.mean([curve[:shortest] for curve in whole], axis=0) if shortest else np.array([nan])
    options = style.options | {"marker": style.mark if len(mean) == 1 else "", "label": label(arm)}
    axes.plot(first + np.arange(len(mean)) + 1, mean, **options)


def _drawn_severities(result: StudyResult, found: Mapping[str, BySeverity], styles: Styles) -> Figure:
    """Means by severity, and below them differences from the control."""
    control = found.get(result.study.control, {})
    rows = 2 if control and len(found) > 1 else 1
    width = WIDTH if len(found) <= FEW_ARMS else WIDE
    figure, (above, *below) = panels(width, HEIGHT + legend_height(found), rows=rows, sharex=True)
    severities = np.array(result.study.severities)
    about = metrics.about("corruption_accuracy")
    for i, (arm, members) in enumerate(found.items()):
        style, means = styles[arm], _estimates(members)
        above.plot(severities, [100 * mean.value for mean in means], label=label(arm), markersize=5, **style.options)
        low, high = np.array([ends(about, mean) or (nan, nan) for mean in means]).T
        above.fill_between(severities, low, high, color=style.colour, alpha=0.15, linewidth=0)
        shared = {
            seeds: np.subtract(row, control[seeds]).tolist() for seeds, row in members.items() if seeds in control
        }
        if below and shared and arm != result.study.control:
            for x, mean in zip(severities, _estimates(shared), strict=True):
                _dot(below[0], x + DODGE * (i / (len(found) - 1) - 0.5), about, mean, style, of_difference=True)
    for axes in below:
        mark_zero(axes)
        axes.set(ylabel="difference (points)")
    above.set(ylabel="mean accuracy (%)", xticks=severities)
    for axes in (above, *below):
        axes.grid(axis="y", alpha=0.25)
    (below or [above])[-1].set_xlabel("severity of corruptions")
    legend(figure, above)
    return figure


def _thinned(length: int) -> list[int]:
    """Indices of the points of a curve that are drawn, with the first and the last."""
    return np.unique(np.linspace(0, length - 1, min(length, POINTS)).round().astype(int)).tolist()


def _by_severity(records: Sequence[RunRecord]) -> BySeverity:
    """The mean accuracy over corruptions at each severity, by seeds; runs in which one is undefined are left out."""
    found: BySeverity = {}
    for record in records:
        cells = [list(row) for row in record.corruptions.values()]
        if cells and all(value is not None for row in cells for value in row):
            found[record.seeds] = np.mean(np.array(cells, dtype=float), axis=0).tolist()
    return found


def _estimates(rows: BySeverity) -> list[Estimate]:
    """Means over runs, one per severity."""
    return [estimate(values, list(rows)) for values in zip(*rows.values(), strict=True)]
