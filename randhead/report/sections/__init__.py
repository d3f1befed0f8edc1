"""Sections of a report, which show the findings of an analysis: one file per analysis, with the same name.

A section is a module with

* `pictures(findings, names)` and `tables(findings, names)`, which yield the pictures, and the tables besides that of
  the metrics.  `names` are the names of the classes, or of the runs if several are analyzed together.

One with `of_runs(found)` also draws the findings of several runs together, by the name of the run: a page of several
runs then has these pictures, and none of each run.

For an analysis without a section only the metrics are shown.
"""

import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from randhead.analyses import Findings
from randhead.report._matplotlib import Figure
from randhead.report.canvas import look
from randhead.tables import Table

__all__ = ["Picture", "draws_runs", "of_runs", "pictures", "tables"]


@dataclass(frozen=True)
class Picture:
    """A figure, a name for its file, and a caption."""

    name: str
    caption: str
    figure: Figure


def pictures(name: str, findings: Findings, names: Iterable[str]) -> Iterator[Picture]:
    """The pictures of an analysis."""
    section = _section(name)
    if section is not None:
        with look():
            drawn = list(section.pictures(findings, tuple(names)))
        yield from drawn


def draws_runs(name: str) -> bool:
    """Whether the section of an analysis draws several runs together."""
    return hasattr(_section(name), "of_runs")


def of_runs(name: str, found: Mapping[str, Findings]) -> list[Picture]:
    """The pictures of an analysis of several runs, by the name of the run; none if its section draws each run."""
    section = _section(name)
    if section is None or not draws_runs(name):
        return []
    with look():
        return list(section.of_runs(found))


def tables(name: str, findings: Findings, names: Iterable[str]) -> Iterator[Table]:
    """The tables of an analysis besides that of its metrics."""
    section = _section(name)
    if section is not None:
        yield from section.tables(findings, tuple(names))


def _section(name: str) -> ModuleType | None:
    if not (Path(__file__).parent / f"{name}.py").exists():
        return None
    return importlib.import_module(f"{__name__}.{name}")
