"""Running a model on a grid of corruptions and severities, streamed from clean batches to the metrics of the cells.

No corrupted set is written or kept in memory.  Clean images are decoded once, one block at a time; a block of 32 px
images has 20,000.  The outer loop is over blocks, then corruptions, then batches, and every batch is corrupted at all
severities with the same noise, so that all severities and all models have the same noise.  Only sums and one bit per
image and cell are kept (`accumulator`), independent of the width of the features; a grid that was stopped resumes at
the same batch.  A thread corrupts the next batch, or reads it, while the model runs.  On a CUDA device the work of both
is queued, and the host reads the results of a whole row at once.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from torch import Tensor

from randhead.datasets import ahead
from randhead.errors import StopRequested
from randhead.evaluation import features
from randhead.model import Classifier
from randhead.preprocess import Preprocess
from randhead.robustness.accumulator import Accumulator, CellMetrics, measure
from randhead.robustness.images import Source
from randhead.robustness.settings import Grid

SAVE_EVERY_S = 5.0


@dataclass(frozen=True)
class GridStarted:
    """A grid begins.

    Attributes:
        run: the run that is tested.
        title: the images and corruptions, in words.
        grid: the cells.
    """

    run: str
    title: str
    grid: Grid


@dataclass(frozen=True)
class Advanced:
    """A batch is done.  `done` and `total` count images times cells."""

    done: int
    total: int


@dataclass(frozen=True)
class RowDone:
    """A corruption is done for one block of images.

    Attributes:
        name: of the corruption.
        metrics: by severity, over the images seen so far.
        seen: number of these images.
        n: number of all images.
    """

    name: str
    metrics: dict[int, CellMetrics]
    seen: int
    n: int


GridEvent = GridStarted | Advanced | RowDone


def run(
    model: Classifier,
    source: Source,
    grid: Grid,
    preprocess: Preprocess,
    accumulator: Accumulator,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Advanced | RowDone]:
    """Run the cells of a grid that an accumulator does not have yet, and add them.

    The accumulator is saved every few seconds, at the end, and before the grid is stopped.

    Raises:
        StopRequested: if `should_stop`, which is called before every batch, returns True.
    """
    model.eval()
    rows = list(_rows(source, grid, accumulator))
    total = len(source.labels) * sum(map(len, grid.values()))
    done = sum(accumulator.seen(name, severity) for name, severities in grid.items() for severity in severities)
    saved = time.monotonic()
    batches = [batch for row in rows for batch in row.batches]
    with closing(ahead(lambda batch: batch.corrupted(source), batches, workers=1, most=1)) as corrupted:
        for row in rows:
            for batch in row.batches:
                if should_stop():
                    accumulator.save()
                    hint = None if accumulator.path else "nothing could be saved; the same command starts over"
                    raise StopRequested("stopped between two batches of the grid", hint=hint)
                labels = source.labels[batch.start : batch.stop]
                for severity, images in next(corrupted):
                    embedded = features.embed(model, images, preprocess)
                    output = model.head.output(embedded, labels, k=1)
                    accumulator.add(row.name, severity, batch.start, *measure(embedded, output, labels))
                done += len(batch.severities) * (batch.stop - batch.start)
                yield Advanced(done, total)
                if time.monotonic() - saved > SAVE_EVERY_S:
                    accumulator.save()
                    saved = time.monotonic()
            metrics = {severity: accumulator.metrics(row.name, severity) for severity in row.severities}
            yield RowDone(row.name, metrics, accumulator.seen(row.name, row.severities[0]), len(source.labels))
    accumulator.save()


@dataclass(frozen=True)
class _Batch:
    """Images start..stop-1 with a corruption, at the severities that are missing."""

    name: str
    severities: list[int]
    start: int
    stop: int

    def corrupted(self, source: Source) -> list[tuple[int, Tensor]]:
        """The images at each severity."""
        return list(source.cells(self.name, self.severities, self.start, self.stop))


@dataclass(frozen=True)
class _Row:
    """A corruption of one block of images, with the batches that are missing."""

    name: str
    severities: Sequence[int]
    batches: list[_Batch]


def _rows(source: Source, grid: Grid, accumulator: Accumulator) -> Iterator[_Row]:
    """What a grid has to compute, in order."""
    n, size = len(source.labels), source.batch
    for block in range(0, n, source.block):
        end = min(n, block + source.block)
        for name, severities in grid.items():
            batches = []
            for start in range(block, end, size):
                missing = [severity for severity in severities if accumulator.seen(name, severity) <= start]
                batches += [_Batch(name, missing, start, min(start + size, end))] if missing else []
            yield _Row(name, severities, batches)
