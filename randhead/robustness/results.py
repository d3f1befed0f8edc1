"""What a benchmark of corruptions returns: typed, with the documents that are saved and the tables that are shown."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from randhead import corruptions
from randhead.corruptions import SEVERITIES
from randhead.files import atomic_write, write_json
from randhead.robustness import metrics
from randhead.robustness.accumulator import CellMetrics
from randhead.robustness.settings import CLEAN
from randhead.runs import Run
from randhead.tables import Result, Table

MARGIN = "cosine to the own class vector minus the largest cosine to another"
RELATIONS = {  # of the images of a released set to those of the split, by what `released.same_images` finds
    True: "the same images",
    False: "other images than those of the test split, or in another order: the columns have different images",
    None: "whether the images are those of the test split cannot be told from the corruptions that are there",
}


@dataclass(frozen=True)
class GridMetrics:
    """The metrics of a grid, without its clean images.

    Attributes:
        cells: by corruption and severity.
        mean_standard_error: of the mean over the benchmark, over images; None without corruptions of the benchmark.
        imagenet: `mce` and `relative_mce`, for the benchmark on ImageNet-1k.
    """

    cells: Mapping[str, Mapping[int, CellMetrics]]
    mean_standard_error: float | None
    imagenet: Mapping[str, float] | None = None

    @property
    def errors(self) -> dict[str, list[float]]:
        """The errors of each corruption, by ascending severity."""
        return {name: [cell.error for cell in row.values()] for name, row in self.cells.items()}

    @property
    def accuracies(self) -> dict[str, dict[int, float]]:
        """Accuracy by corruption and severity."""
        return {name: {s: cell.accuracy for s, cell in row.items()} for name, row in self.cells.items()}

    @property
    def severities(self) -> list[int]:
        """All severities that some corruption has."""
        return sorted({severity for row in self.cells.values() for severity in row})

    @property
    def is_complete(self) -> bool:
        """Whether all of the benchmark's 15 corruptions are there at five severities."""
        return all(len(self.cells.get(name, ())) == len(SEVERITIES) for name in metrics.benchmark())

    @property
    def mean_over(self) -> str:
        """What the mean over the benchmark is taken over: "14 of 15 corruptions, severities 1, 3, 5"."""
        return mean_over({name: tuple(row) for name, row in self.cells.items()})

    @property
    def mean_accuracy(self) -> float | None:
        """Mean accuracy over the benchmark's corruptions that are there; None if there are none."""
        if not any(name in self.cells for name in metrics.benchmark()):
            return None
        return 1 - metrics.mean_error(self.errors, partial=not self.is_complete)

    @property
    def groups(self) -> dict[str, tuple[float, str]]:
        """Mean accuracy of each group, and how many of its corruptions are there: "3 of 4"."""
        return {group: (1 - error, there) for group, (error, there) in metrics.group_errors(self.errors).items()}

    def to_json(self) -> dict[str, Any]:
        """The document.

        `mean_corruption_accuracy` is over 15 corruptions at five severities; without them it is None, and
        `partial_mean_corruption_accuracy` is over those that are there.
        """
        mean = self.mean_accuracy
        return {
            "corruptions": {name: {str(s): a for s, a in row.items()} for name, row in self.accuracies.items()},
            "mean_corruption_accuracy": mean if self.is_complete else None,
            **({} if self.is_complete else {"partial_mean_corruption_accuracy": mean}),
            "mean_corruption_accuracy_standard_error": self.mean_standard_error,
            "mean_over": self.mean_over,
            "groups": {
                group: {"accuracy": accuracy, "corruptions": there} for group, (accuracy, there) in self.groups.items()
            },
            "cells": {name: {str(s): asdict(cell) for s, cell in row.items()} for name, row in self.cells.items()},
            **({"imagenet": {"denominators": "AlexNet", **self.imagenet}} if self.imagenet else {}),
        }


def mean_over(grid: Mapping[str, Sequence[int]]) -> str:
    """What a mean over the benchmark is taken over: "14 of 15 corruptions, severities 1, 3, 5"."""
    rows = [severities for name, severities in grid.items() if name in metrics.benchmark()]
    full = bool(rows) and all(len(row) == len(SEVERITIES) for row in rows)
    severities = "all severities" if full else "severities " + ", ".join(map(str, rows[0] if rows else ()))
    return f"{metrics.coverage(list(grid))} corruptions, {severities}"


@dataclass(frozen=True)
class Difference:
    """A difference in accuracy with its 95 percent interval, paired bootstrap over images."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class CorruptionDifference(Difference):
    """The same of a corruption, mean over severities, with errors relative to those of the baseline.

    Attributes:
        ce: corruption error: the ratio of the errors; None if the baseline makes none.
        relative_ce: the ratio of the increases in error over clean images; None if the baseline has none.
    """

    ce: float | None
    relative_ce: float | None


@dataclass(frozen=True)
class Comparison:
    """How a run differs from a baseline on the same images with the same noise.

    Attributes:
        run: the baseline.
        interval: what the intervals are.
        draws: number of resamples of the bootstrap.
        accuracy: difference on clean images.
        mean_corruption_accuracy: difference of the mean over the benchmark's corruptions that are there, if any.
        mean_over: what that mean is taken over.
        corruptions: by corruption.
        mean_ce: mean CE over the same corruptions, in percent.
        mean_relative_ce: mean relative CE over the same corruptions, in percent.
    """

    run: str
    interval: str
    draws: int
    accuracy: Difference
    mean_corruption_accuracy: Difference | None
    mean_over: str
    corruptions: Mapping[str, CorruptionDifference]
    mean_ce: float | None
    mean_relative_ce: float | None


@dataclass(frozen=True)
class ClassAccuracy:
    """Accuracies of the images of one class; None if there are none.

    Attributes:
        n: number of images.
        accuracy: on clean images.
        mean_corruption_accuracy: mean over the benchmark's corruptions that are there.
        corruptions: by corruption, mean over severities.
    """

    n: int
    accuracy: float | None
    mean_corruption_accuracy: float | None
    corruptions: Mapping[str, float]


@dataclass(frozen=True)
class ReleasedMetrics:
    """A run on a released set of corrupted images, of the corruptions and severities of the benchmark.

    Attributes:
        name: of the set.
        folder: as it was given.
        n: number of images.
        same_images: whether they are those of the split; None if that cannot be found out.
        notes: defects of the set.
        grid: the metrics.
    """

    name: str
    folder: str
    n: int
    same_images: bool | None
    notes: tuple[str, ...]
    grid: GridMetrics

    @property
    def relation(self) -> str:
        """How its images are related to those of the split, in words."""
        return RELATIONS[self.same_images]

    def to_json(self) -> dict[str, Any]:
        """The document."""
        head = {"name": self.name, "folder": self.folder, "n": self.n, "same_images": self.same_images}
        return {**head, "relation": self.relation, "notes": list(self.notes), **self.grid.to_json()}


@dataclass(frozen=True)
class ContactSheet:
    """One image under all corruptions.

    Attributes:
        tiles: uint8 (R, 5, 3, H, W): corruptions by severities 1 to 5.
        names: R names of corruptions.
        title: which image and which parameters.
    """

    tiles: Tensor
    names: tuple[str, ...]
    title: str


@dataclass(frozen=True)
class CorruptionReport(Result):
    """Accuracy of a run under image corruptions: what `robustness.benchmark` returns.

    Attributes:
        run: name of the run.
        data: name of the dataset.
        split: of the dataset.
        n: number of images.
        images: which images, in words.
        seed: of the noise.
        parameters: the parameter set, "32", "64" or "224".
        frost: where the frost images are from; None if frost is not in the grid.
        clean: metrics on clean images.
        grid: metrics on corrupted images.
        folder: of the run.
        compared_with: differences to the baseline, if there is one.
        per_class: accuracies by class, if asked for.
        released: the same on a released set, if one was given.
        contact_sheet: the first image under all corruptions, if asked for.
        others: the reports of further runs on the same images.
    """

    run: str
    data: str
    split: str
    n: int
    images: str
    seed: int
    parameters: str
    frost: str | None
    clean: CellMetrics
    grid: GridMetrics
    folder: Run
    compared_with: Comparison | None = None
    per_class: Mapping[str, ClassAccuracy] | None = None
    released: ReleasedMetrics | None = None
    contact_sheet: ContactSheet | None = None
    others: tuple["CorruptionReport", ...] = ()

    @property
    def accuracy(self) -> float:
        """Accuracy on clean images."""
        return self.clean.accuracy

    @property
    def corruptions(self) -> dict[str, dict[int, float]]:
        """Accuracy by corruption and severity."""
        return self.grid.accuracies

    @property
    def mean_corruption_accuracy(self) -> float | None:
        """Mean accuracy over 15 corruptions at five severities; None if some of them are missing."""
        return self.grid.mean_accuracy if self.grid.is_complete else None

    def to_json(self) -> dict[str, Any]:
        """The document, with those of further runs under `others`."""
        return {**self.document(), "others": [report.document() for report in self.others]}

    def document(self) -> dict[str, Any]:
        """The document of this run only: what is saved."""
        document = {
            "run": self.run,
            "data": self.data,
            "split": self.split,
            "n": self.n,
            "images": self.images,
            "seed": self.seed,
            "parameters": self.parameters,
            "frost": self.frost,
            "accuracy": self.accuracy,
            "clean": asdict(self.clean),
            "margin": MARGIN,
            **self.grid.to_json(),
        }
        if self.compared_with:
            document["compared_with"] = asdict(self.compared_with)
        if self.per_class:
            document["per_class"] = {name: asdict(row) for name, row in self.per_class.items()}
        if self.released:
            document["published"] = self.released.to_json()
        return document

    def for_evaluation(self) -> dict[str, Any]:
        """What the document of an evaluation has of this report: its main numbers, and all under `robustness`."""
        document = self.document()
        del document["accuracy"]  # the evaluation has it
        return {key: document[key] for key in ("corruptions", "mean_corruption_accuracy")} | {"robustness": document}

    def tables(self) -> Iterator[Table]:
        """Errors by corruption and severity, mean accuracies, and what else was asked for; of further runs too."""
        from randhead.robustness import tables

        yield from tables.of_report(self)
        for report in self.others:
            yield from report.tables()

    def save(self, run: Run | None = None, *, name: str = "corrupt-test") -> Path:
        """Write the document of this run into the reports of a run, by default of the run that was tested.

        Returns:
            The path of the JSON file, reports/NAME.json.
        """
        path = (run or self.folder).reports / f"{name}.json"
        write_json(path, self.document())
        return path

    def write_csv(self, path: Path) -> Path:
        """Write one line per cell, the clean images first, with all metrics of the cell."""
        text = io.StringIO()
        columns = list(asdict(self.clean))
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["run", "parameters", "frost", "corruption", "severity", "n", *columns])
        for name, row in {CLEAN: {0: self.clean}, **self.grid.cells}.items():
            for severity, cell in row.items():
                values = asdict(cell)
                head = [self.run, self.parameters, self.frost, name, severity, self.n]
                writer.writerow([*head, *(values[column] for column in columns)])
        atomic_write(path, text.getvalue())
        return path


def display_name(name: str, frost: str | None) -> str:
    """A corruption as people write it: frost with generated pictures, and corruptions outside the benchmark, say so."""
    label = name.replace("_", " ")
    if name == "frost" and frost == "procedural":
        return f"{label} (procedural)"
    if name not in corruptions.names():
        return f"{label} (custom)"
    return label if name in corruptions.names("benchmark") else f"{label} (extra)"
