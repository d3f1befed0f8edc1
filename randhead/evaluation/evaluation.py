"""`evaluate`: the metrics of a trained run on a split, and its out-of-distribution detection."""

import heapq
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from randhead import ambient, registry, runs
from randhead.arguments import check_functions
from randhead.config import SPLITS, one_of
from randhead.datasets import Dataset
from randhead.evaluation import classification, out_of_distribution
from randhead.evaluation.classification import ClassificationMetrics, NeighbourMetrics
from randhead.evaluation.features import extract
from randhead.evaluation.out_of_distribution import OutOfDistribution
from randhead.evaluation.temperature import Calibration, calibrate
from randhead.files import write_json
from randhead.intervals import Interval, of_accuracy
from randhead.metrics import BINS
from randhead.runs import ROOT, LoadedRun, Run, RunLike, slug
from randhead.tables import Cell, Result, Table, count, nats, percent, words

WORST = 5  # classes in the table; the document has them all
PER_BIN = 10  # images per bin of the calibration error, with fewer its noise is a good part of it


class CorruptionPart(Protocol):
    """The part of the report of `robustness.benchmark` that an evaluation needs."""

    def for_evaluation(self) -> dict[str, Any]:
        """The entries of the document."""
        ...

    def tables(self) -> Iterator[Table]:
        """The tables that a person sees."""
        ...


@dataclass(frozen=True)
class Evaluation(Result):
    """The metrics of one run on one split.

    Attributes:
        run: name of the run.
        data: name of the dataset.
        split: "test", "val" or "train".
        class_names: the classes of the run, in the order of its class vectors.
        metrics: of the split.  Runs that were trained with one class per training image have `NeighbourMetrics`.
        ood: the out-of-distribution detection, if images of other classes were given.
        corruptions: the report of `robustness.benchmark`, if there is one; see `with_corruptions`.
        calibration: the metrics after temperature scaling, or why there are none, in words.
        given: the images that were evaluated instead of the run's own; part of the name of the report.
    """

    run: str
    data: str
    split: str
    class_names: tuple[str, ...] = field(repr=False)
    metrics: ClassificationMetrics | NeighbourMetrics
    ood: OutOfDistribution | None = None
    corruptions: CorruptionPart | None = field(default=None, repr=False)
    given: str | None = None
    calibration: Calibration | str | None = None

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy in [0, 1]."""
        return self.metrics.accuracy

    def with_corruptions(self, report: CorruptionPart) -> "Evaluation":
        """The same evaluation with the document and tables of a report on corrupted images added."""
        return replace(self, corruptions=report)

    def to_json(self) -> dict[str, Any]:
        """The document of `randhead evaluate --json`."""
        document: dict[str, Any] = {
            "run": self.run,
            "data": self.data,
            "split": self.split,
            "class_names": list(self.class_names),
            **self.metrics.to_json(),
        }
        if isinstance(self.calibration, Calibration):
            document["calibrated"] = self.calibration.to_json()
        elif isinstance(self.metrics, ClassificationMetrics):
            document["calibrated"] = None
        if self.ood:
            document["ood"] = self.ood.to_json()
        if self.corruptions:
            document |= self.corruptions.for_evaluation()
        return document

    def tables(self) -> Iterator[Table]:
        """The metrics, the classes with the lowest accuracy, and what was measured in addition."""
        yield self._summary()
        if isinstance(self.metrics, ClassificationMetrics):
            yield self._diagnostics(self.metrics)
            yield from self._hardest_classes(self.metrics)
        if self.ood:
            yield self.ood.table(self.run)
        if self.corruptions:
            yield from self.corruptions.tables()

    def path(self, run: Run) -> Path:
        """The file of the document in the folder of a run."""
        given = [slug(registry.label(self.given))] if self.given else []
        return run.reports / f"{'-'.join(['evaluate', *given, self.split])}.json"

    def save(self, run: Run) -> Path:
        """Write the document into the reports of a run.  Returns its path."""
        write_json(self.path(run), self.to_json())
        return self.path(run)

    def _summary(self) -> Table:
        m = self.metrics
        rows = [("accuracy", percent(m.accuracy), m.accuracy_interval.percent())]
        if isinstance(m, ClassificationMetrics):
            rows += [
                ("top-5 accuracy", percent(m.top5_accuracy), _limits(m.top5_accuracy_interval)),
                ("NLL", nats(m.nll), ""),
                ("Brier score, 0 to 2", f"{m.brier:.4f}", ""),
                ("area under risk-coverage curve", percent(m.aurc), ""),
                (f"ECE, {BINS} bins of equal width", percent(m.ece), ""),
                (f"ECE, {BINS} bins of equal mass", percent(m.ece_equal_mass), ""),
            ]
        else:
            rows.append(("1-NN accuracy", percent(m.knn_1), _limits(of_accuracy(m.knn_1, m.n))))
        notes = [few] if isinstance(m, ClassificationMetrics) and (few := _few(m.n)) else []
        if isinstance(self.calibration, Calibration):
            rows += _calibrated(self.calibration)
            notes.append(f"logits divided by T, which is fitted on {self.calibration.fitted_n} validation images")
        elif self.calibration:
            notes.append(self.calibration)
        title = f"{self.run}: {self.split} split of {self.data}, n = {m.n}"
        return Table(title, ("metric", "value", "95 % interval"), tuple(row for row in rows if row[1]), tuple(notes))

    def _diagnostics(self, m: ClassificationMetrics) -> Table:
        rows = tuple((words(name), sides["right"], sides["wrong"]) for name, sides in m.diagnostics.items())
        return Table(f"{self.run}: means over right and wrong predictions", ("", "right", "wrong"), rows)

    def _hardest_classes(self, m: ClassificationMetrics) -> Iterator[Table]:
        """The classes with the lowest accuracy, and the classes that are predicted instead; no table without them."""
        accuracies = enumerate(m.per_class_accuracy)
        known = [(accuracy, k) for k, accuracy in accuracies if accuracy is not None and accuracy < 1]
        rows: list[tuple[Cell, ...]] = []
        for accuracy, k in heapq.nsmallest(WORST, known):
            confused = m.most_confused_with(k)
            taken_for = f"{self.class_names[confused[0]]} ({confused[1]})" if confused else ""
            interval = _limits(of_accuracy(accuracy, m.per_class_n[k]))
            rows.append((self.class_names[k], percent(accuracy), interval, taken_for))
        notes = []
        if len(m.per_class_n) > classification.DRAWN_CLASSES:
            limit, count = classification.DRAWN_CLASSES, len(m.confused_pairs)
            notes = [f"no picture of more than {limit:,} classes: the report lists {count:,} confused pairs"]
        columns = ("class", "accuracy", "95 % interval", "most often taken for")
        if rows:
            yield Table(f"{self.run}: hardest classes", columns, tuple(rows), tuple(notes))


@ambient.settled()
def evaluate(
    run: RunLike | None = None,
    *,
    split: str = "test",
    data: str | Dataset | None = None,
    ood: str | None = None,
    root: str | Path = ROOT,
    device: str = "auto",
    should_stop: Callable[[], bool] = lambda: False,
    warn: Callable[[str], None] = warnings.warn,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluate a trained run: accuracy, NLL, calibration, confusion, out-of-distribution detection.

    Args:
        run: a run, by name, by folder or from `runs.load`; None for the latest.
        split: "test", "val" or "train".
        data: other images with the classes of the run: the name of a dataset, a folder, or a `Dataset`; None for the
            run's own images.
        ood: images of other classes, a dataset or a folder: their test split is used to measure out-of-distribution
            detection.  A folder without split folders is used whole.
        root: folder of the runs.
        device: "auto", "cpu" or "cuda".
        should_stop: called between batches.
        warn: called with each warning about the run or the images.
        progress: called with (done, total) while images are read.

    Returns:
        An `Evaluation`, which a notebook shows as tables.

    Raises:
        UsageError: for arguments that cannot be used.
        RunError: if the run is missing or damaged.
        DataError: if the images have other classes than the run, or cannot be read.
        StopRequested: if `should_stop` returns True.

    Example:
        >>> from randhead import evaluation
        >>> evaluation.evaluate("digits-seed0").accuracy  # doctest: +SKIP
        0.9721
    """
    one_of("split", split, SPLITS)
    check_functions(should_stop=should_stop, warn=warn, progress=progress)
    loaded = runs.load(run, root=root, device=device)
    if ood:
        loaded.require_classes()
    dataset = data if isinstance(data, Dataset) else loaded.dataset(data, progress=progress)
    loaded.check_classes(dataset)
    for warning in _warnings(loaded, dataset, split, own=data is None):
        warn(warning)
    metrics, calibration = _metrics(loaded, dataset, split, should_stop)
    detection = None
    if ood:
        others = loaded.dataset(ood, labelled=False, progress=progress)
        for note in (*others.notes(), *out_of_distribution.remarks(loaded, others)):
            warn(f"{others.name}: {note}")
        detection = out_of_distribution.measure(loaded, dataset.splits[split], others, should_stop=should_stop)
    return Evaluation(
        run=loaded.run.name,
        data=dataset.name,
        split=split,
        class_names=loaded.class_names,
        metrics=metrics,
        ood=detection,
        given=None if isinstance(data, Dataset) else data,
        calibration=calibration,
    )


def _warnings(loaded: LoadedRun, dataset: Dataset, split: str, *, own: bool) -> Iterator[str]:
    """What the reader must know: whether the run is finished, its own images have changed, and how others were read."""
    if unfinished := loaded.unfinished():
        yield unfinished
    if own:
        changed = loaded.image_changes(dataset, split)
        yield from [changed] if changed else []
        return
    yield from dataset.notes()
    if split == "test" and dataset.drawn_test and not loaded.owns(dataset, split):
        total = sum(map(len, dataset.splits.values()))
        yield (
            f"{dataset.name} has no split folders: only {len(dataset.splits[split]):,} of its {count(total, 'image')}, "
            "drawn by seed, are evaluated; to evaluate all, give a folder with train/ in which they are in test/"
        )


def _calibrated(found: Calibration) -> list[tuple[str, str, str]]:
    """The rows of the metrics after temperature scaling."""
    scaled = f"at T = {found.temperature:.3g}"
    return [(f"NLL {scaled}", nats(found.nll), ""), (f"ECE {scaled}", percent(found.ece), "")]


def _few(n: int) -> str | None:
    """The note on the calibration error of few images."""
    least = PER_BIN * BINS
    return f"ECE of fewer than {least} images is too high: their noise in {BINS} bins adds to it" if n < least else None


def _limits(interval: Interval | None) -> str:
    return interval.percent() if interval else ""


def _metrics(
    loaded: LoadedRun, dataset: Dataset, split: str, should_stop: Callable[[], bool]
) -> tuple[ClassificationMetrics | NeighbourMetrics, Calibration | str | None]:
    """The metrics that fit a run: k-NN accuracy if it was trained with one class per training image."""
    model, preprocess = loaded.model, loaded.preprocess
    if loaded.config.data.labels != "class":
        return classification.neighbour_metrics(model, dataset, split, preprocess, should_stop=should_stop), None
    part = dataset.splits[split]
    labels = part.labels.cpu()
    features, scores = extract(model, part, preprocess, should_stop=should_stop)
    found = classification.metrics_of(features, scores, labels, model.head.num_classes)
    if split == "val":
        return found, "no temperature: it would be fitted on the images that are evaluated"
    if "val" not in dataset.splits or not loaded.owns(dataset, "val"):
        return found, "no temperature: it is fitted on the validation split of the run's own images"
    validation = dataset.splits["val"]
    return found, calibrate(model, validation, features, labels, preprocess, should_stop=should_stop)
