"""Runs side by side: what `randhead.evaluation.comparison.compare` found of one analysis, as tables and a picture."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from randhead.report.canvas import COLOURS, GREY, look, panels
from randhead.report.sections import Listing, Picture, words


def tables(found: dict[str, Any], chosen: Iterable[str]) -> Iterator[Listing]:
    """A table for each arm beside the first, of the chosen figures; or of the only arm's means."""
    first = found["arms"][0]
    for arm, difference in zip(found["arms"][1:], found["differences"], strict=True):
        columns = ("figure", first["arm"], arm["arm"], "difference", "low", "high", "pairs")
        rows = [_row(name, first, arm, difference) for name in chosen if name in difference["figures"]]
        yield Listing(f"{arm['arm']} less {first['arm']}", columns, rows)
    if not found["differences"]:
        yield means([first], chosen)


def means(arms: list[dict[str, Any]], chosen: Iterable[str] | None = None) -> Listing:
    """Means of arms over their runs, with intervals, of the chosen figures or of all."""
    rows = [
        [words(name), arm["arm"], f["mean"], *_ends(f), f["n"]]
        for arm in arms
        for name, f in arm["figures"].items()
        if chosen is None or name in chosen
    ]
    return Listing("Means", ("figure", "arm", "mean", "low", "high", "runs"), rows)


def everything(found: dict[str, Any]) -> Iterator[Listing]:
    """All differences, and all means."""
    rows = [
        [words(name), arm["arm"], f["difference"], *_ends(f), f["n"]]
        for arm in found["differences"]
        for name, f in arm["figures"].items()
    ]
    if rows:
        yield Listing("All differences", ("figure", "arm", "difference", "low", "high", "pairs"), rows)
    yield replace(means(found["arms"]), title="All means")


def pictures(found: dict[str, Any], chosen: Iterable[str]) -> Iterator[Picture]:
    """Differences of the chosen figures in percent of the first arm's mean, with their intervals."""
    base = found["arms"][0]["figures"]
    names = [
        name
        for name in chosen
        if base.get(name, {}).get("mean") and any(name in arm["figures"] for arm in found["differences"])
    ]
    if names:
        minus = found["arms"][0]["arm"]
        with look():
            figure = _forest(found["differences"], base, names)
        yield Picture("differences", f"Difference from {minus}, in percent of its mean; bars are 95 percent.", figure)


def _forest(differences: list[dict[str, Any]], base: dict[str, Any], names: list[str]) -> Figure:
    figure, (axes,) = panels(height=1.1 + 0.3 * len(names))
    for i, (arm, colour) in enumerate(zip(differences, COLOURS * len(differences), strict=False)):
        label = arm["arm"]
        for row, name in enumerate(names):
            f = arm["figures"].get(name)
            if f is not None:
                scale, place = 100 / abs(base[name]["mean"]), row + 0.16 * (i - (len(differences) - 1) / 2)
                axes.plot(
                    [end * scale for end in f["interval"] or ()], [place] * len(f["interval"] or ()), color=colour
                )
                axes.plot(f["difference"] * scale, place, "o", color=colour, markersize=5, label=label)
                label = None
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(names)), [words(name) for name in names])
    axes.set(ylim=(len(names) - 0.4, -0.6), xlabel="percent")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def _row(name: str, first: dict[str, Any], arm: dict[str, Any], difference: dict[str, Any]) -> list[Any]:
    sides = [side["figures"].get(name, {}).get("mean") for side in (first, arm)]
    f = difference["figures"][name]
    return [words(name), *sides, f["difference"], *_ends(f), f["n"]]


def _ends(figure: dict[str, Any]) -> tuple[float | None, float | None]:
    return tuple(figure["interval"] or (None, None))
