"""Collapse: each metric beside its floor, the value for a perfectly collapsed run with the same head."""

from collections.abc import Iterator
from dataclasses import replace

from randhead.analyses import Findings
from randhead.evaluation.measuring import metric
from randhead.report._matplotlib import Axes
from randhead.report.canvas import BLUE, GREEN, INK, panels
from randhead.report.sections import Picture
from randhead.tables import Table, rows

SPLITS = {"": ("this split", BLUE, "o"), "train_": ("training split", GREEN, "D")}
UNBOUNDED = ("nc1", "gnc1")  # have their own axes and scale


def pictures(findings: Findings, names: tuple[str, ...]) -> Iterator[Picture]:
    """Metrics and floors, one line each."""
    known = _measured(findings)
    above = [name for name in known if name in UNBOUNDED]
    below = [name for name in known if name not in UNBOUNDED]
    heights = [len(above) + 1, len(below) + 1]
    figure, axes = panels(height=0.9 + 0.27 * sum(heights), rows=2, height_ratios=heights)
    for part, members in zip(axes, (above, below), strict=True):
        _lines(part, findings, members)
    axes[1].legend(*_legend(axes[1]), loc="upper center", bbox_to_anchor=(0.4, -0.16 * 8 / heights[1]), ncols=3)
    yield Picture(
        "floors",
        "Dots are measured values, bars the floor of this head, which a perfectly collapsed run reaches."
        " NC4 is a share here.",
        figure,
    )


def tables(findings: Findings, names: tuple[str, ...]) -> Iterator[Table]:
    """Each metric on both splits, its floor, and its value for the class vectors."""
    cells = []
    for name in _measured(findings):
        about = metric("collapse", name)
        values = (findings.metrics.get(key) for key in (name, f"train_{name}", f"{name}_floor", f"{name}_vectors"))
        cells.append([about.title, *map(about.shown, values)])
    yield Table("Metrics and floors", ("metric", "this split", "training split", "floor", "class vectors"), rows(cells))


def _measured(findings: Findings) -> list[str]:
    return [name for name in findings.metrics if f"{name}_floor" in findings.metrics]


def _lines(axes: Axes, findings: Findings, names: list[str]) -> None:
    for row, name in enumerate(names):
        floor = findings.number(f"{name}_floor")
        for prefix, (label, colour, marker) in SPLITS.items():
            value = findings.number(prefix + name)
            if value is not None:
                start = value if floor is None else floor
                axes.plot([start, value], [row, row], color=colour, linewidth=1, alpha=0.4)
                axes.plot(value, row, marker, color=colour, markersize=5, label=label)
        if floor is not None:
            axes.plot(floor, row, "|", color=INK, markersize=11, markeredgewidth=2, label="floor")
    axes.set_yticks(range(len(names)), [replace(metric("collapse", name), unit="").title for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.25)


def _legend(axes: Axes) -> tuple[list, list]:
    """Each kind of mark once."""
    kinds = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    return list(kinds.values()), list(kinds)
