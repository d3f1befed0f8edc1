"""Files of the result of a study: an HTML page, and tables as CSV, Markdown and LaTeX."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from randhead.study.result import StudyResult

__all__ = ["write"]

FILES = ("report.html", "result.csv", "runs.csv", "result.md", "result.tex")  # that `write` makes


def write(results: "Sequence[StudyResult]", folder: Path, *, warn: Callable[[str], None] = warnings.warn) -> list[Path]:
    """Write the result of one or several studies for readers and for other programs.

    * report.html: one self-contained page with the verdicts of all claims, pictures, tables and every run.
    * result.csv: one line per study, arm and metric, with means, differences from the control and their tests.
    * runs.csv: one line per run and metric, with the name of the run folder.
    * result.md and result.tex: the tables, claims first, as Markdown and as LaTeX with booktabs.

    Numbers in CSV files are exact, and shares are not in percent.

    Args:
        results: of the studies, in the order in which they are shown.
        folder: where the files are written; it is created if it is missing.
        warn: called with a warning for a study of which no reported run is done.

    Returns:
        The files.

    Raises:
        OSError: if a file cannot be written.
    """
    from randhead.files import atomic_write
    from randhead.report.study import csv_tables, page, words  # import Matplotlib, and SciPy as results do

    for result in results:
        if not result.records:
            warn(f"study {result.study.name}: no reported run is done, so there are no figures")
    texts = (
        page.render(results),
        csv_tables.arms_csv(results),
        csv_tables.runs_csv(results),
        words.markdown(results),
        words.latex(results),
    )
    paths = [Path(folder) / name for name in FILES]
    for path, text in zip(paths, texts, strict=True):
        atomic_write(path, text)
    return paths
