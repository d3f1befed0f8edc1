"""Writing the result of a training."""

from collections.abc import Iterator

from randhead.files import described
from randhead.runs import Run, TrainingSummary
from randhead.train.events import Warned


def write(run: Run, summary: TrainingSummary) -> Iterator[Warned]:
    """Write summary.json; on a full disk the result is not lost, as the event `Finished` has it."""
    try:
        summary.save(run)
    except OSError as error:
        yield Warned(f"{described(error)}: not written; the same command evaluates the run again")
