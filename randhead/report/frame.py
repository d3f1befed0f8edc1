"""The frame of HTML pages: one self-contained file, with a light and a dark theme, readable on a phone.

A page has chapters, which have blocks of tables and pictures.  It is rendered from templates (folder `templates`) that
escape all text, such as the names of classes.
"""

import functools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from randhead import __version__
from randhead.evaluation.summary import Summary
from randhead.report import canvas
from randhead.report.sections import Picture
from randhead.study.claims import FAILS, HOLDS
from randhead.tables import Cell, Metric, Table, capitalised, shown

if TYPE_CHECKING:
    from randhead.study.verdicts import Verdict

TEMPLATES = Path(__file__).parent / "templates"
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e-\d+)?")
WHOLE = re.compile(r"[+-]?\d+")
LARGE = 6.5  # inches; wider pictures get their own line, and scroll on a phone


@dataclass(frozen=True)
class Drawing:
    """A picture as the template needs it."""

    svg: Markup
    caption: str
    large: bool


@dataclass(frozen=True)
class ClaimRow:
    """A line of a table of claims: a claim with its verdict; of several studies the name and anchor of its chapter."""

    verdict: "Verdict"
    study: str = ""
    anchor: str = ""

    @property
    def kind(self) -> str:
        """How the verdict is coloured."""
        return {HOLDS: "yes", FAILS: "no"}.get(self.verdict.verdict, "undecided")


@dataclass(frozen=True)
class Block:
    """A part of the page with an entry in its navigation; it has `runs` or the other fields.

    `files` are texts to copy, by their titles.
    """

    title: str
    prefix: str = ""  # of the anchor
    lead: str = ""
    seen: str = ""
    tiles: list[tuple[Metric, str]] = field(default_factory=list)
    claims: list[ClaimRow] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Drawing] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    summary: Summary | None = None
    folded: list[Table] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    runs: list["FoldedRun"] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """The id of the block."""
        return anchor(self.prefix + self.title)

    @property
    def heading(self) -> str:
        """The title with a capital letter."""
        return capitalised(self.title)


@dataclass(frozen=True)
class FoldedRun:
    """The blocks of one of several runs."""

    title: str
    blocks: list[Block]


@dataclass(frozen=True)
class Chapter:
    """A part of a page; one with a title has lines below it, an id, and its own navigation."""

    blocks: list[Block]
    title: str = ""
    summary: Sequence[str] = ()
    anchor: str = ""


def render(title: str, summary: Sequence[str], chapters: Sequence[Chapter]) -> str:
    """A page.

    Args:
        title: its heading.
        summary: lines below the heading.
        chapters: its parts; the navigation of the page lists the blocks of those without a title, and then the others.
    """
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            title=title,
            summary=summary,
            chapters=chapters,
            style=_file("page.css"),
            on_dark={canvas.variable(light): dark for light, dark in canvas.ON_DARK.items()},
            script=_file("page.js"),
            version=__version__,
        )
    )


def table_html(table: Table) -> str:
    """A table as the page shows it; numbers keep their exact value, which is used to sort a column by a click."""
    template = '{% from "parts.html.jinja" import render_table %}{{ render_table(table) }}'
    return _environment().from_string(template).render(table=table)


def drawings(pictures: Iterable[Picture], owner: str) -> list[Drawing]:
    """Pictures as SVG elements, whose ids start with the owner and the name of the picture."""
    return [_drawing(picture, owner) for picture in pictures]


def anchor(text: str) -> str:
    """A text as an id."""
    return "".join(letter if letter.isalnum() else "-" for letter in text)


@functools.cache
def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"shown": shown, "exact": _exact, "code": _code, "column_classes": _column_classes}
    environment.filters["capitalised"] = capitalised
    return environment


def _file(name: str) -> Markup:
    """A file of the package, unescaped."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704


def _code(text: str) -> Markup:
    """A text in which Python names in backticks become code; escaped."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704


def _exact(value: Cell) -> Markup:
    """The attribute with the exact value of a number; empty for words and missing values."""
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return Markup(' data-value="{}"').format(repr(value)) if is_number else Markup()


def _column_classes(table: Table) -> list[Markup]:
    """The attribute per column that aligns numbers, or empty; names of classes are words, even "7"."""
    numeric = [_is_numeric([row[i] for row in table.rows]) for i in range(len(table.columns))]
    return [Markup(' class="number"') if is_numeric else Markup() for is_numeric in numeric]


def _is_numeric(cells: Sequence[Cell]) -> bool:
    """Whether all cells are numbers or empty; as text ("-0.031", "60", "1e-04") only if one is no whole number."""
    texts = [cell for cell in cells if isinstance(cell, str)]
    return all(map(NUMBER.fullmatch, texts)) and not (texts and all(map(WHOLE.fullmatch, texts)))


def _drawing(picture: Picture, owner: str) -> Drawing:
    large = picture.figure.get_figwidth() > LARGE
    attributes: dict[str, Any] = {"kind": Markup(' class="large"') if large else "", "label": picture.caption}
    opening = Markup('<svg{kind} role="img" aria-label="{label}"').format(**attributes)
    svg = canvas.svg(picture.figure, f"{owner} {picture.name}").replace("<svg", opening, 1)
    return Drawing(Markup(svg), picture.caption, large)  # noqa: S704  # matplotlib escapes its texts
