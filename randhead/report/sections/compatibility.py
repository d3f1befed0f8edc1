"""Compatibility: queries of one run in the gallery of another, as a matrix."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from randhead.analyses import Findings
from randhead.analyses.compatibility import SCORES
from randhead.analyses.transfer import METRICS
from randhead.report.canvas import heat_map
from randhead.report.sections import Picture
from randhead.tables import Cell, Table, rows

WRITTEN = 12  # runs; with more, the numbers cannot be read


def pictures(findings: Findings, names: tuple[str, ...]) -> Iterator[Picture]:
    """A matrix for each score."""
    for score in SCORES:
        about = METRICS[score]
        matrix = about.scale * findings.arrays[score].numpy()
        texts = np.where(np.isfinite(matrix), np.char.mod("%.1f", matrix), "") if len(matrix) <= WRITTEN else None
        figure = heat_map(matrix, names, label=_title(score), colours="Blues", limits=(0, 100), texts=texts)
        figure.axes[0].set(xlabel="gallery", ylabel="queries")
        yield Picture(score.replace("_", "-"), f"{_title(score)}: rows are the queries, columns the gallery.", figure)


def tables(findings: Findings, names: tuple[str, ...]) -> Iterator[Table]:
    """Every pair of runs."""
    scores = [METRICS[score].scale * findings.arrays[score] for score in SCORES]
    cells: list[list[Cell]] = [
        [names[i], names[j], *(float(score[i, j]) for score in scores)] for i in range(len(names)) for j in range(i + 1)
    ]
    yield Table("Every pair", ("queries", "gallery", *map(_title, SCORES)), rows(cells))


def _title(score: str) -> str:
    """The name with its unit."""
    return replace(METRICS[score], better="").title
