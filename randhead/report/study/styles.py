"""How arms are drawn: the same arm has the same colour, mark and kind of line in all pictures of a page."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from randhead.report._matplotlib import Axes, Figure
from randhead.report.canvas import BLUE, CRIMSON, OLIVE, ORANGE, TAN, VIOLET, label
from randhead.study.result import StudyResult

# Any two of them differ by 23 or more in CIELAB (19 in the dark theme), also as people with protanopia, deuteranopia or
# tritanopia see them (Machado et al. 2009), and have a contrast of 2.6 or more (3.6) with the ground of a page.
COLOURS = (BLUE, ORANGE, CRIMSON, OLIVE, VIOLET, TAN)
MARKS = "osD^vPX"  # as many as have no common divisor with the colours: 42 arms differ in one or the other
LINES = ("-", "--", ":", "-.")
LONGEST_LEGEND = 30  # characters of a name, of which two are beside each other


@dataclass(frozen=True)
class Style:
    """Colour, mark and kind of line of an arm."""

    colour: str
    mark: str
    line: str

    @property
    def options(self) -> dict[str, Any]:
        """Arguments for the mean of an arm over x."""
        return {"color": self.colour, "linestyle": self.line, "marker": self.mark, "linewidth": 2}


def styles(results: Sequence[StudyResult]) -> dict[str, Style]:
    """The style of every arm of some studies, by name."""
    names = dict.fromkeys(arm.name for result in results for arm in result.study.arms)
    return {
        name: Style(COLOURS[i % len(COLOURS)], MARKS[i % len(MARKS)], LINES[i // len(COLOURS) % len(LINES)])
        for i, name in enumerate(names)
    }


def legend(figure: Figure, axes: Axes) -> None:
    """The names of the arms below the axes, in as many columns as fit."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=_columns(names), handlelength=3)


def legend_height(names: Iterable[str]) -> float:
    """The height in inches that the legend of some arms needs."""
    found = [label(name) for name in names]
    return 0.1 + 0.17 * math.ceil(len(found) / _columns(found))


def _columns(names: Iterable[str]) -> int:
    longest = max(map(len, names), default=0)
    return 1 if longest > LONGEST_LEGEND else 2 if longest > LONGEST_LEGEND // 2 else 3
