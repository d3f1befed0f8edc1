"""Pictures and pages made from results."""

from pathlib import Path

from randhead.runs import Run
from randhead.tables import Result

__all__ = ["draw"]


def draw(result: Result, run: Run) -> list[Path]:
    """Draw a result into the reports of a run.

    An evaluation has a picture of its confusion matrix, a corruption report a CSV file and pictures, an analysis
    pictures; all analyses together have one page, report.html.

    Args:
        result: an `Evaluation`, an `Analysis` or a `CorruptionReport`.
        run: the folder of the run; if several runs were analyzed, of the first.

    Returns:
        The files, which lie beside the document that `result.save(run)` writes.

    Raises:
        TypeError: for a result that has no pictures.
    """
    from randhead.report import drawing  # imports Matplotlib, which the imports of this package need not wait for

    return drawing.draw(result, run)
