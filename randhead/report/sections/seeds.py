"""Seeds: the sources of the variance between runs."""

from collections.abc import Iterator

from randhead.analyses import Findings
from randhead.report.canvas import BLUE, GREY, ORANGE, panels
from randhead.report.sections import Picture
from randhead.tables import Table, rows, words

KINDS = {"head": ("the class vectors", BLUE), "seed": ("the training seed", ORANGE), "rest": ("the rest", GREY)}
ENDS = ("mean", "std", "head_std", "seed_std", "rest_std", "head_share", "seed_share", "rest_share", "head_p", "seed_p")


def pictures(findings: Findings, names: tuple[str, ...]) -> Iterator[Picture]:
    """Shares of the variance, one bar per metric."""
    values = _values(findings)
    figure, (axes,) = panels(height=1.3 + 0.35 * len(values))
    for row, value in enumerate(values):
        left = 0.0
        for kind, (label, colour) in KINDS.items():
            share = findings.number(f"{value}_{kind}_share") or 0.0
            axes.barh(row, share, left=left, color=colour, height=0.65, label=label if row == 0 else None)
            left += share
    axes.set_yticks(range(len(values)), [words(value) for value in values])
    axes.set(xlim=(0, 1), ylim=(len(values) - 0.4, -0.6), xlabel="share of the variance")
    axes.legend(loc="upper left", bbox_to_anchor=(-0.3, 1.25), ncols=3)
    yield Picture("shares", "Sources of the variance between runs.", figure)


def tables(findings: Findings, names: tuple[str, ...]) -> Iterator[Table]:
    """Variance components, as standard deviations and shares, with the p-values of their F-tests."""
    cells = [[words(value), *(findings.metrics[f"{value}_{end}"] for end in ENDS)] for value in _values(findings)]
    yield Table("Components of the variance", ("metric", *map(words, ENDS)), rows(cells))


def _values(findings: Findings) -> list[str]:
    return [name for name in findings.arrays if name not in ("head_seeds", "seeds")]
