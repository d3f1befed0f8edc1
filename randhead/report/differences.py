"""The comparison of several runs in one analysis (`evaluation.comparison.Comparison`), as tables and a picture."""

from collections.abc import Iterable, Iterator

from matplotlib.figure import Figure

from randhead.evaluation.comparison import ArmMeans, Comparison, Difference
from randhead.evaluation.estimates import Estimate
from randhead.report.canvas import COLOURS, GREY, look, panels
from randhead.report.sections import Picture
from randhead.tables import Cell, Table, rows, words


def tables(found: Comparison, chosen: Iterable[str]) -> Iterator[Table]:
    """One table of the chosen metrics for each arm except the first; or the means if there is only one arm."""
    first, names = found.arms[0], list(chosen)
    for arm, difference in zip(found.arms[1:], found.differences, strict=True):
        columns = ("metric", first.arm.label, arm.arm.label, "difference", "low", "high", "pairs")
        cells = [_row(name, first, arm, difference) for name in names if name in difference.metrics]
        yield Table(f"{arm.arm.label} minus {first.arm.label}", columns, rows(cells)).without_empty_columns()
    if not found.differences:
        yield means(found.arms[:1], "Means", names)


def means(arms: Iterable[ArmMeans], title: str, chosen: Iterable[str] | None = None) -> Table:
    """Means over the runs of each arm, with intervals, for the chosen metrics or all."""
    names = None if chosen is None else set(chosen)
    cells = [
        (words(name), arm.arm.label, mean.value, *_ends(mean), mean.n)
        for arm in arms
        for name, mean in arm.metrics.items()
        if names is None or name in names
    ]
    columns = ("metric", "arm", "mean", "low", "high", "runs")
    return Table(title, columns, rows(cells)).without_empty_columns()


def everything(found: Comparison) -> Iterator[Table]:
    """All differences, and all means."""
    cells = [
        (words(name), arm.arm.label, difference.value, *_ends(difference), difference.n)
        for arm in found.differences
        for name, difference in arm.metrics.items()
    ]
    if cells:
        columns = ("metric", "arm", "difference", "low", "high", "pairs")
        yield Table("All differences", columns, rows(cells)).without_empty_columns()
    yield means(found.arms, "All means")


def pictures(found: Comparison, chosen: Iterable[str]) -> Iterator[Picture]:
    """Differences of the chosen metrics in percent of the first arm's mean, with their intervals."""
    base = {name: mean.value for name, mean in found.arms[0].metrics.items() if mean.value}
    names = [name for name in chosen if name in base and any(name in arm.metrics for arm in found.differences)]
    if names:
        with look():
            figure = _forest(found.differences, base, names)
        minus = found.arms[0].arm.label
        bars = "; bars are 95 percent intervals" if found.has_intervals else ""
        yield Picture("differences", f"Difference from {minus}, in percent of its mean{bars}.", figure)


def _forest(differences: tuple[Difference, ...], base: dict[str, float], names: list[str]) -> Figure:
    """A dot with its interval per metric and arm."""
    figure, (axes,) = panels(height=1.1 + 0.3 * len(names))
    for i, (arm, colour) in enumerate(zip(differences, COLOURS * len(differences), strict=False)):
        label: str | None = arm.arm.label
        for row, name in enumerate(names):
            if name in arm.metrics:
                found, scale = arm.metrics[name], 100 / abs(base[name])
                y = row + 0.16 * (i - (len(differences) - 1) / 2)
                ends = [end * scale for end in found.interval or ()]
                axes.plot(ends, [y] * len(ends), color=colour)
                axes.plot(found.value * scale, y, "o", color=colour, markersize=5, label=label)
                label = None
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(names)), [words(name) for name in names])
    axes.set(ylim=(len(names) - 0.4, -0.6), xlabel="percent")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def _row(name: str, first: ArmMeans, arm: ArmMeans, difference: Difference) -> tuple[Cell, ...]:
    sides = [side.metrics[name].value if name in side.metrics else None for side in (first, arm)]
    found = difference.metrics[name]
    return (words(name), *sides, found.value, *_ends(found), found.n)


def _ends(estimate: Estimate) -> tuple[float | None, float | None]:
    return estimate.interval or (None, None)
