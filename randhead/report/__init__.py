"""Pictures and HTML pages of results."""

import warnings
from collections.abc import Callable
from pathlib import Path

from randhead.evaluation import Analysis
from randhead.runs import Run
from randhead.tables import Result

__all__ = ["draw", "export"]


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


def export(result: Analysis, run: Run) -> list[Path]:
    """Write an analysis for other programs, into the reports folder of a run: CSV files, and its tables as LaTeX.

    Args:
        result: of `evaluation.analyze`.
        run: the run; if several runs were analyzed, the first.

    Returns:
        The files: values per run (.csv), for several runs by arm (-arms.csv), and tables (.tex, with booktabs).
    """
    from randhead.report import exports

    return exports.write(result, run)
