"""Tables that show results: on a terminal by the command line, in a notebook by `_repr_html_`.

A result of the library (an evaluation, a corruption report, ...) is a frozen dataclass that inherits `Result` and says
which tables a reader wants to see.  Cells are numbers, which are shown with four digits, or words.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from math import inf, isfinite
from typing import Any

from randhead.escapes import printable

Cell = str | int | float | None
NUMBER = re.compile(r"([+-]?[\d,]+(\.\d+)?( %)?|-)?")  # or nothing, or undefined
STYLE = (  # of tables in a notebook
    ".randhead table {margin-top: 1em} .randhead caption {white-space: nowrap; text-align: left} "
    ".randhead th, .randhead td {padding: .2em .8em; text-align: left}"
)


BETTER = {"higher": "\u2191", "lower": "\u2193", "": ""}  # arrows, by the better direction of a metric
LIMITS = {"%": (0.0, 1.0), "deg": (0.0, 180.0), "nats": (0.0, inf)}  # of metrics, by unit
ARROWS = f"{BETTER['higher']} higher is better, {BETTER['lower']} lower is better"


@dataclass(frozen=True)
class Metric:
    """How a metric is shown to people; the file that measures it states this, once.

    Attributes:
        name: in words, without its unit.
        definition: what it measures, as a phrase.
        better: "higher", "lower", or "" if neither is.
        unit: "%" for a share, which is shown in percent; "deg", "nats" or "".
        bounds: the least and the largest value that it can have, if its unit does not say so.
    """

    name: str
    definition: str = ""
    better: str = ""
    unit: str = ""
    bounds: tuple[float, float] | None = None

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest value that it can have, infinite if nothing is known."""
        return self.bounds or LIMITS.get(self.unit, (-inf, inf))

    @property
    def title(self) -> str:
        """The name with its unit and an arrow.

        Example:
            >>> Metric("accuracy", better="higher", unit="%").title
            'accuracy (%) ↑'
        """
        unit = f"({self.unit})" if self.unit else ""
        return " ".join(part for part in (self.name, unit, BETTER[self.better]) if part)

    @property
    def difference_unit(self) -> str:
        """The unit of a difference of two values as tables show it: points, for a share."""
        return "points" if self.unit == "%" else self.unit

    @property
    def scale(self) -> float:
        """The factor between a value and what tables show: 100 for a share, which is shown in percent."""
        return 100.0 if self.unit == "%" else 1.0

    def shown(self, value: Cell) -> Cell:
        """A value as tables show it: a share in percent, everything else unchanged."""
        return self.scale * value if self.unit == "%" and isinstance(value, int | float) else value


@dataclass(frozen=True)
class Table:
    """A table: a title, the names of its columns, rows of numbers and words, and notes below it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def is_numeric(self, column: int) -> bool:
        """Whether a column holds only numbers, also as text ("97.12 %"), which are aligned on the right.

        Args:
            column: index of the column.
        """
        return bool(self.rows) and all(_is_number(row[column]) for row in self.rows)

    def without_empty_columns(self) -> "Table":
        """The table without the columns that are empty in every row."""
        kept = [i for i in range(len(self.columns)) if not self.rows or any(shown(row[i]) for row in self.rows)]
        columns = tuple(self.columns[i] for i in kept)
        return replace(self, columns=columns, rows=rows([row[i] for i in kept] for row in self.rows))

    def to_html(self) -> str:
        """The table as an HTML fragment; every text is escaped."""
        aligned = [' style="text-align:right"' if self.is_numeric(i) else "" for i in range(len(self.columns))]
        head = "".join(f"<th{a}>{escape(c)}</th>" for a, c in zip(aligned, self.columns, strict=True))
        body = "".join(
            f"<tr>{''.join(f'<td{a}>{escape(shown(v))}</td>' for a, v in zip(aligned, row, strict=True))}</tr>"
            for row in self.rows
        )
        title = f"<caption>{escape(self.title)}</caption>" if self.title else ""
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"


class Result:
    """Base class of results: a document for programs (`to_json`) and tables for people (`tables`)."""

    def to_json(self) -> dict[str, Any]:
        """The document, with the documented keys, ready for JSON."""
        raise NotImplementedError

    def tables(self) -> Iterator[Table]:
        """The tables that a person sees, most important first."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """The tables as a notebook shows them."""
        found = "\n".join(table.to_html() for table in self.tables())
        return f'<div class="randhead"><style>{STYLE}</style>\n{found}\n</div>'


def rows(values: Iterable[Iterable[Cell]]) -> tuple[tuple[Cell, ...], ...]:
    """Rows as tuples, for a `Table`."""
    return tuple(tuple(row) for row in values)


def _is_number(value: Cell) -> bool:
    return NUMBER.fullmatch(value) is not None if isinstance(value, str) else True


def shown(value: Cell) -> str:
    """A cell as printable text: four digits for a float, nothing for None and for numbers that are not finite."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return ""
    return f"{value:z.4g}" if isinstance(value, float) else printable(str(value))


def words(name: str) -> str:
    """The name of a metric in words: "map_at_r" -> "map at r"."""
    return name.replace("_", " ")


def capitalised(text: str) -> str:
    """A text with a capital letter; the others stay as they are.

    Example:
        >>> capitalised("mean NLL")
        'Mean NLL'
    """
    return text[:1].upper() + text[1:]


def count(number: int, noun: str) -> str:
    """A number of things in words.

    Example:
        >>> count(1, "image"), count(1797, "image"), count(3, "class")
        ('1 image', '1,797 images', '3 classes')
    """
    plural = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def few(names: Sequence[object], most: int, separator: str = ", ") -> str:
    """The first names of a list.

    Example:
        >>> few(["cat", "dog"], 2), few(["cat", "dog", "eel"], 2)
        ('cat, dog', 'cat, dog, ...')
    """
    shown = [*map(str, names[:most]), *(["..."] if len(names) > most else [])]
    return separator.join(shown)


def percent(share: float | None) -> str:
    """A share in percent: 0.9712 -> "97.12 %"; nothing for None and NaN."""
    return "" if share is None or not isfinite(share) else f"{100 * share:.2f} %"


def nats(loss: float | None) -> str:
    """A loss in nats: 0.0209 -> "0.0209 nats"; nothing for None."""
    return "" if loss is None else f"{loss:.4f} nats"
