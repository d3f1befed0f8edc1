"""The comparison of several runs in one analysis (`evaluation.comparison.Comparison`), as tables and a picture."""

from collections.abc import Callable, Iterable, Iterator

from randhead.evaluation.comparison import Comparison, Difference
from randhead.evaluation.estimates import Estimate
from randhead.report._matplotlib import Figure
from randhead.report.canvas import COLOURS, GREY, look, panels
from randhead.report.sections import Picture
from randhead.tables import Metric, Table, rows

Describe = Callable[[str], Metric]  # how a metric is shown, by its key


def everything(found: Comparison, describe: Describe) -> Iterator[Table]:
    """All differences, and all means, as numbers."""
    cells = [
        (describe(name).title, arm.arm.label, *_numbers(describe(name), difference), difference.n)
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
    """Differences of the chosen metrics in percent of the baseline's mean, with their intervals."""
    base = {name: mean.value for name, mean in found.arms[0].metrics.items() if mean.value}
    names = [name for name in chosen if name in base and any(name in arm.metrics for arm in found.differences)]
    if names:
        with look():
            figure = _forest(found.differences, base, {name: describe(name).title for name in names})
        minus = found.arms[0].arm.label
        bars = "; bars are 95 percent intervals" if found.has_intervals else ""
        yield Picture("differences", f"Difference from {minus}, in percent of its mean{bars}.", figure)


def _forest(differences: tuple[Difference, ...], base: dict[str, float], titles: dict[str, str]) -> Figure:
    """A dot with its interval per metric and arm."""
    figure, (axes,) = panels(height=1.1 + 0.3 * len(titles))
    for i, (arm, colour) in enumerate(zip(differences, COLOURS * len(differences), strict=False)):
        label: str | None = arm.arm.label
        for row, name in enumerate(titles):
            if name in arm.metrics:
                found, scale = arm.metrics[name], 100 / abs(base[name])
                y = row + 0.16 * (i - (len(differences) - 1) / 2)
                ends = [found.interval.low * scale, found.interval.high * scale] if found.interval else []
                axes.plot(ends, [y] * len(ends), color=colour)
                axes.plot(found.value * scale, y, "o", color=colour, markersize=5, label=label)
                label = None
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(titles)), list(titles.values()))
    axes.set(ylim=(len(titles) - 0.4, -0.6), xlabel="percent")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def _numbers(about: Metric, found: Estimate) -> tuple[float | None, ...]:
    """The value, its deviation and the ends of its interval, as tables show them."""
    low, high = (found.interval.low, found.interval.high) if found.interval else (None, None)
    return tuple(None if x is None else about.scale * x for x in (found.value, found.std, low, high))
