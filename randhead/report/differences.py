"""The comparison of several runs in one analysis (`evaluation.comparison.Comparison`), as tables and a picture."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from randhead.evaluation.comparison import Comparison, Difference
from randhead.evaluation.estimates import Estimate
from randhead.evaluation.shown import ends
from randhead.report._matplotlib import Figure
from randhead.report.canvas import COLOURS, GREY, look, panels
from randhead.report.sections import Picture
from randhead.tables import Metric, Table, rows

Describe = Callable[[str], Metric]  # how a metric is shown, by its key


def everything(found: Comparison, describe: Describe) -> Iterator[Table]:
    """All differences, and all means, as numbers."""
    cells = [
        (describe(name).title, arm.arm.label, *_numbers(describe(name), difference, of_difference=True), difference.n)
        for arm in found.differences
        for name, difference in arm.metrics.items()
    ]
    if cells:
        columns = ("metric", "arm", "difference", "deviation", "95 % low", "high", "pairs")
        yield Table("All differences", columns, rows(cells)).without_empty_columns()
    cells = [
        (describe(name).title, arm.arm.label, *_numbers(describe(name), mean), mean.n)
        for arm in found.arms
        for name, mean in arm.metrics.items()
    ]
    columns = ("metric", "arm", "mean", "deviation", "95 % low", "high", "runs")
    yield Table("All means", columns, rows(cells)).without_empty_columns()


def pictures(found: Comparison, chosen: Iterable[str], describe: Describe) -> Iterator[Picture]:
    """Differences of the chosen metrics with their intervals: shares in points, others relative to the baseline.

    Metrics that can be negative are left out: a percentage of a mean near 0 says nothing.
    """
    means = {name: mean.value for name, mean in found.arms[0].metrics.items()}
    names = [name for name in chosen if name in means and any(name in arm.metrics for arm in found.differences)]
    shares = [name for name in names if describe(name).unit == "%"]
    others = [name for name in names if name not in shares and means[name] and _has_zero(describe(name))]
    minus = found.arms[0].arm.label
    bars = "; bars are 95 % intervals" if found.has_intervals else ""
    kinds = (
        ("differences-points", shares, "in percentage points", "difference, percentage points"),
        ("differences", others, "in percent of its mean", f"difference, % of the mean of {minus}"),
    )
    for name, members, unit, axis in kinds:
        if members:
            about = {member: describe(member) for member in members}
            base = {member: 1.0 if member in shares else abs(means[member]) for member in members}
            with look():
                figure = _forest(found.differences, base, about, axis)
            yield Picture(name, f"Difference from {minus}, {unit}{bars}.", figure)


def _has_zero(about: Metric) -> bool:
    """Whether a metric is measured from 0: not a cosine or a correlation, which can be negative."""
    return about.bounds is None or about.bounds[0] >= 0


def _forest(
    differences: tuple[Difference, ...], base: dict[str, float], abouts: dict[str, Metric], axis: str
) -> Figure:
    """A dot with its interval per metric and arm, times 100 over the base of the metric."""
    figure, (axes,) = panels(height=1.1 + 0.3 * len(abouts))
    for i, (arm, colour) in enumerate(zip(differences, COLOURS * len(differences), strict=False)):
        label: str | None = arm.arm.label
        for row, (name, about) in enumerate(abouts.items()):
            if name in arm.metrics:
                found, scale = arm.metrics[name], 100 / base[name]
                y = row + 0.16 * (i - (len(differences) - 1) / 2)
                bar = [end / about.scale * scale for end in ends(about, found, of_difference=True)]
                axes.plot(bar, [y] * len(bar), color=colour)
                axes.plot(found.value * scale, y, "o", color=colour, markersize=5, label=label)
                label = None
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(abouts)), [replace(about, unit="").title for about in abouts.values()])
    axes.set(ylim=(len(abouts) - 0.4, -0.6), xlabel=axis)
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def _numbers(about: Metric, found: Estimate, *, of_difference: bool = False) -> tuple[float | None, ...]:
    """The value, its deviation and the ends of its interval, as tables show them."""
    deviation = None if found.std is None else about.scale * found.std
    return (about.scale * found.value, deviation, *(ends(about, found, of_difference=of_difference) or (None, None)))
