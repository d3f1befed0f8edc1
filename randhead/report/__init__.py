"""Pictures and HTML pages of results."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from randhead.report import study
from randhead.runs import Run
from randhead.tables import Result

if TYPE_CHECKING:
    from randhead.evaluation import Analysis
    from randhead.robustness import CorruptionReport

__all__ = ["draw", "export", "study"]


def draw(result: Result, run: Run, *, warn: Callable[[str], None] = warnings.warn) -> list[Path]:
    """Draw the pictures of a result and write them into the reports folder of a run.

    An evaluation gives a picture of the confusion matrix, a corruption report a CSV file and pictures, one analysis
    pictures, and all analyses together one page, report.html.

    Args:
        result: an `Evaluation`, an `Analysis` or a `CorruptionReport`.
        run: the run; if several runs were analyzed, the first.
        warn: called with a warning if no font of this system has the letters of a name.

    Returns:
        The files, which lie beside the document that `result.save(run)` writes.

    Raises:
        TypeError: for a result that has no pictures.
    """
    from randhead.report import drawing  # imports Matplotlib, which would make importing this package slow

    return drawing.draw(result, run, warn=warn)


def export(result: "Analysis | CorruptionReport", run: Run | None = None) -> list[Path]:
    """Write a result for other programs, into the reports folder of a run: CSV files, and its tables as LaTeX.

    Args:
        result: of `evaluation.analyze`, or of `robustness.benchmark` for several runs.
        run: the run; None for the first of the result.

    Returns:
        The files.  Of an analysis: values per run (.csv), for several runs by arm (-arms.csv), and tables (.tex, with
        booktabs).  Of several runs under corruptions: their comparison by arm as corrupt-test-arms.json, .csv and .tex.
    """
    from randhead.report import exports  # imports SciPy, as the results do
    from randhead.robustness import CorruptionReport

    if isinstance(result, CorruptionReport):
        return exports.write_comparison(result)
    run = run or result.members[0].loaded.run
    return exports.write(result, run)
