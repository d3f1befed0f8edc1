"""The HTML page of an analysis: one self-contained file, with a light and a dark theme, readable on a phone.

The page is rendered from templates (folder `templates`) that escape all text, such as the names of classes.
"""

import functools
import inspect
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from randhead import __version__, registry
from randhead.evaluation import accuracy, analysis_tables
from randhead.evaluation.analysis import Analysis
from randhead.evaluation.analysis_tables import NOT_APPLICABLE, headlines, in_order
from randhead.evaluation.comparison import Comparison
from randhead.evaluation.inputs import RunInputs, Seen
from randhead.evaluation.measuring import Measurement, metric
from randhead.evaluation.summary import Summary
from randhead.report import canvas, differences, projections, sections
from randhead.report.sections import Picture
from randhead.tables import ARROWS, Cell, Metric, Table, percent, rows, shown

TEMPLATES = Path(__file__).parent / "templates"
LARGE = 6.5  # inches; wider pictures get their own line, and scroll on a phone


@dataclass(frozen=True)
class Drawing:
    """A picture as the template needs it."""

    svg: Markup
    caption: str
    large: bool


@dataclass(frozen=True)
class Block:
    """A part of the page with an entry in its navigation; it has `runs` or the other fields."""

    title: str
    prefix: str = ""  # of the anchor
    lead: str = ""
    seen: str = ""
    tiles: list[tuple[Metric, str]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Drawing] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    summary: Summary | None = None
    folded: list[Table] = field(default_factory=list)
    runs: list["FoldedRun"] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """The id of the block."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.prefix + self.title)

    @property
    def heading(self) -> str:
        """The title with a capital letter."""
        return _capitalised(self.title)


@dataclass(frozen=True)
class FoldedRun:
    """The blocks of one of several runs."""

    title: str
    blocks: list[Block]


def render(analysis: Analysis) -> str:
    """The page of analyses of one or more runs."""
    members = analysis.members
    single = len(members) == 1
    blocks = _run_blocks(members[0], analysis.each[0], prefix="") if single else _comparison_blocks(analysis)
    blocks.insert(0, Block("summary", lead=_compares(analysis.summary), summary=analysis.summary))
    if analysis.not_applicable:
        reasons = tuple(analysis.not_applicable.items())
        blocks.append(Block(NOT_APPLICABLE, tables=[Table("", ("analysis", "why not"), reasons)]))
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            title=members[0].name if single else f"{len(members)} runs compared",
            summary=_summary(analysis),
            blocks=blocks,
            style=_file("page.css"),
            script=_file("page.js"),
            version=__version__,
        )
    )


def table_html(table: Table) -> str:
    """A table as the page shows it; numbers keep their exact value, which is used to sort a column by a click."""
    template = '{% from "parts.html.jinja" import render_table %}{{ render_table(table) }}'
    return _environment().from_string(template).render(table=table)


@functools.cache
def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"shown": shown, "exact": _exact, "code": _code, "column_classes": _column_classes}
    environment.filters["capitalised"] = _capitalised
    return environment


def _file(name: str) -> Markup:
    """A file of the package, unescaped."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _code(text: str) -> Markup:
    """A text in which Python names in backticks become code; escaped."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704


def _exact(value: Cell) -> Markup:
    """The attribute with the exact value of a number; empty for words and missing values."""
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return Markup(' data-value="{}"').format(repr(value)) if is_number else Markup()


def _column_classes(table: Table) -> list[Markup]:
    """The attribute per column that aligns numbers, or empty; names of classes are words, even "7"."""
    numeric = [all(isinstance(row[i], int | float | None) for row in table.rows) for i in range(len(table.columns))]
    return [Markup(' class="number"') if is_numeric else Markup() for is_numeric in numeric]


def _summary(analysis: Analysis) -> list[str]:
    """Lines about what was analyzed, and for a single run also about its settings."""
    run = analysis.members[0]
    seen = run.seen
    lines = [f"{seen['data']}, {seen['split']} split: n = {seen['n']}, K = {seen['classes']} classes"]
    if len(analysis.members) == 1:
        config, head = run.loaded.config, run.loaded.model.head
        kind = "learned" if head.trainable else "fixed"
        lines.append(
            f"{config.backbone.name}, {kind} {registry.label(config.head.vectors)} class vectors, D = {head.dim}, "
            f"{head.scoring} scoring, scale {run.scale:.4g}"
        )
        lines.append(f"seed {config.train.seed}, head seed {config.train.head_seed}")
        lines += [f"accuracy {percent(found.value)} ({found.interval.words()})" for found in analysis.accuracies]
    return lines


def _compares(found: Summary) -> str:
    """What the summary compares, as a sentence."""
    return f"{_capitalised(found.title)}." if found.minus else ""


def _run_blocks(run: RunInputs, found: dict[str, Measurement], *, prefix: str) -> list[Block]:
    """The blocks of one run: its features in two dimensions, and each analysis."""
    names, title = run.loaded.class_names, "feature space"
    shown_pictures = projections.pictures(run.features, run.labels, run.class_vectors, names, seed=run.seed)
    lead = "Directions of features, coloured by class, with the class vectors among them."
    space = Block(title, prefix, lead, pictures=_drawings(shown_pictures, prefix + title))
    return [space, *(_analysis(name, found[name], names, prefix=prefix) for name in in_order(found))]


def _comparison_blocks(analysis: Analysis) -> list[Block]:
    """The blocks of several runs: their names, their comparison, analyses of all together, and each run folded."""
    run_names = tuple(run.name for run in analysis.members)
    found = analysis.all_comparisons.values()
    what = "Differences are paired by seed" if any(one.differences for one in found) else "Means over runs"
    intervals = ", with 95 % intervals" if any(one.has_intervals for one in found) else ""
    lead = f"An arm is a set of runs that differ only in seeds. {what}{intervals}."
    notes = (*analysis.comparison_notes, analysis_tables.SPREAD, ARROWS)
    listing = replace(analysis_tables.runs(analysis), title="")
    blocks = [Block("runs", lead=lead, tables=[listing], notes=notes)]
    if analysis.accuracy:
        about = {accuracy.NAME: accuracy.metric(analysis.options.split)}
        blocks.append(_compared(accuracy.NAME, analysis.accuracy, about))
    for name in in_order(analysis.comparisons):
        about = {key: metric(name, key) for key in headlines(name, analysis.each[0][name].findings)}
        blocks.append(_compared(name, analysis.comparisons[name], about))
    blocks += [_analysis(name, measured, run_names, prefix="") for name, measured in analysis.together.items()]
    folded = [
        FoldedRun(run.name, _run_blocks(run, found, prefix=f"run {i} "))
        for i, (run, found) in enumerate(zip(analysis.members, analysis.each, strict=True))
    ]
    return [*blocks, Block("every run", runs=folded)]


def _compared(name: str, found: Comparison, about: dict[str, Metric]) -> Block:
    """The means of the arms and their differences, in one analysis."""
    title = f"{name} compared"

    def describe(key: str) -> Metric:
        return about.get(key) or metric(name, key)

    return Block(
        title,
        tables=[
            replace(analysis_tables.means("", [(found, about)]), notes=()),
            *analysis_tables.differences([(found, about)]),
        ],
        pictures=_drawings(differences.pictures(found, about, describe), title),
        folded=[analysis_tables.glossary(about.values()), *differences.everything(found, describe)],
    )


def _analysis(name: str, measured: Measurement, names: tuple[str, ...], *, prefix: str) -> Block:
    """One analysis: its headline metrics as tiles, its pictures, and everything else folded."""
    findings = measured.findings
    chosen = analysis_tables.metrics_of(name, findings)
    everything = ((metric(name, key), key, value) for key, value in findings.metrics.items())
    cells = rows((about.title, about.shown(value), key) for about, key, value in everything)
    return Block(
        name,
        prefix,
        lead=_lead(name),
        seen=_seen(measured.seen),
        tiles=[(about, shown(about.shown(value))) for about, value in chosen.items() if value is not None],
        pictures=_drawings(sections.pictures(name, findings, names), f"{prefix}{name}"),
        notes=findings.notes,
        folded=[
            analysis_tables.glossary(chosen),
            *sections.tables(name, findings, names),
            Table("All metrics", ("metric", "value", "name in files"), cells),
        ],
    )


def _lead(name: str) -> str:
    """The question of an analysis: the first line of its docstring after the colon."""
    documentation = inspect.getdoc(registry.load("analyses", name)) or ""
    lead = documentation.partition("\n")[0].partition(": ")[2]
    return _capitalised(lead)


def _seen(seen: Seen) -> str:
    """What was analyzed, in words: "digits, test split, n = 359, 10 classes"."""
    return ", ".join(
        f"{key} = {value}" if key == "n" else f"{value} {key}" if key != "data" else str(value)
        for key, value in seen.items()
    )


def _drawings(pictures: Iterable[Picture], owner: str) -> list[Drawing]:
    return [_drawing(picture, owner) for picture in pictures]


def _drawing(picture: Picture, owner: str) -> Drawing:
    """A picture as an SVG element, whose ids start with its owner and name."""
    large = picture.figure.get_figwidth() > LARGE
    attributes: dict[str, Any] = {"kind": Markup(' class="large"') if large else "", "label": picture.caption}
    opening = Markup('<svg{kind} role="img" aria-label="{label}"').format(**attributes)
    svg = canvas.svg(picture.figure, f"{owner} {picture.name}").replace("<svg", opening, 1)
    return Drawing(Markup(svg), picture.caption, large)  # noqa: S704  # matplotlib escapes its texts
