"""A model on a grid of corruptions and severities, streamed: clean batch in, the metrics of all its cells out.

No corrupted set is written or kept in memory.  Clean images are decoded once, a block at a time; a block of a dataset
of 32 px is 20,000 images.  Blocks come first, then corruptions, then batches, and every batch is corrupted at all
severities with the same noise: so all severities, and all models, see the same noise.  What is kept are sums and one
bit per image and cell (`accumulator`), which does not grow with the features; a grid that was stopped resumes at the
batch where it was.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
        title: what it is tested on, in words.
        grid: the cells.
    """

    run: str
    title: str
    grid: Grid


@dataclass(frozen=True)
class Advanced:
    """A batch is done.  `done` of `total` counts images times cells."""

    done: int
    total: int


@dataclass(frozen=True)
class RowDone:
    """A corruption is done for the images of a block.

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
    """Add the cells of a grid that an accumulator lacks.

    The accumulator is saved every few seconds, at the end, and before a stop.

    Raises:
        StopRequested: if `should_stop` returns True, which is asked before every batch.
    """
    model.eval()
    n, size = len(source.labels), source.batch
    total = n * sum(map(len, grid.values()))
    done = sum(accumulator.seen(name, severity) for name, severities in grid.items() for severity in severities)
    saved = time.monotonic()
    for block in range(0, n, source.block):
        end = min(n, block + source.block)
        for name, severities in grid.items():
            for start in range(block, end, size):
                missing = [severity for severity in severities if accumulator.seen(name, severity) <= start]
                if not missing:
                    continue
                if should_stop():
                    accumulator.save()
                    raise StopRequested("stopped between two batches of the grid")
                stop = min(start + size, end)
                labels = source.labels[start:stop]
                for severity, images in source.cells(name, missing, start, stop):
                    embedded = features.embed(model, images, preprocess)
                    answers = model.head.output(embedded, labels, k=1)
                    accumulator.add(name, severity, start, *measure(embedded, answers, labels))
                done += len(missing) * (stop - start)
                yield Advanced(done, total)
                if time.monotonic() - saved > SAVE_EVERY_S:
                    accumulator.save()
                    saved = time.monotonic()
            metrics = {severity: accumulator.metrics(name, severity) for severity in severities}
            yield RowDone(name, metrics, accumulator.seen(name, severities[0]), n)
    accumulator.save()
