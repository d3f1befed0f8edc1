"""Sections of a report: how the findings of an analysis are shown; one file an analysis, named like it.

A section is a module with

* `pictures(findings, names)` and `tables(findings, names)`, which yield what there is to see besides the metrics.
  `names` are those of the classes, or of the runs if the analysis is of several.

An analysis without a section is shown by its metrics only.
"""

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from matplotlib.figure import Figure

from randhead import registry
from randhead.analyses import Findings
from randhead.report.canvas import look

ORDER = ("separability", "compactness", "similarity", "collapse", "transfer", "dynamics", "compatibility", "seeds")


@dataclass(frozen=True)
class Picture:
    """A figure, a name for its file, and a sentence that says what it shows."""

    name: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Listing:
    """A table: a title, names of columns, rows of numbers and words."""

    title: str
    columns: tuple[str, ...]
    rows: list[list[Any]]


def headlines(name: str, findings: Findings) -> dict[str, Any]:
    """The metrics of an analysis that matter first; all of them if it does not say which."""
    analysis = registry.load("analyses", name) if name in registry.names("analyses") else None
    chosen = getattr(analysis, "HEADLINES", findings.figures)
    return {key: findings.figures[key] for key in chosen if key in findings.figures}


def pictures(name: str, findings: Findings, names: Iterable[str]) -> Iterator[Picture]:
    """The pictures of an analysis."""
    section = _section(name)
    if section is not None:
        with look():
            drawn = list(section.pictures(findings, tuple(names)))
        yield from drawn


def tables(name: str, findings: Findings, names: Iterable[str]) -> Iterator[Listing]:
    """The tables of an analysis beside that of its figures."""
    section = _section(name)
    if section is not None:
        yield from section.tables(findings, tuple(names))


def in_order(names: Iterable[str]) -> list[str]:
    """Analyses in the order in which a reader wants them."""
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def words(figure: str) -> str:
    """The name of a figure in words."""
    return figure.replace("_", " ")


def _section(name: str) -> ModuleType | None:
    if not (Path(__file__).parent / f"{name}.py").exists():
        return None
    return importlib.import_module(f"{__name__}.{name}")
