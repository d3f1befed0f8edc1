"""The result of a benchmark of corruptions, with its documents and tables."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from randhead import corruptions, registry
from randhead.escapes import csv_text
from randhead.files import atomic_write, write_json
from randhead.intervals import as_document
from randhead.robustness.accumulator import CellMetrics
from randhead.robustness.by_arm import ArmComparison
from randhead.robustness.comparison import Comparison
from randhead.robustness.grid_metrics import GridMetrics
from randhead.robustness.per_class import ClassAccuracy
from randhead.robustness.settings import CLEAN
from randhead.runs import Run
from randhead.tables import Result, Table

MARGIN = "cosine to the own class vector minus the largest cosine to another"
SMALLEST_SET = min(map(int, corruptions.PARAMETER_SETS))  # pixels
OWN = "own"  # the group of the user's own corruptions


@dataclass(frozen=True)
class ReleasedMetrics:
    """The metrics of a run on a released set of corrupted images.

    Attributes:
        name: name of the set.
        folder: path of its folder, as it was given.
        n: number of images.
        same_images: whether they are those of the split, with the same labels, corruptions and severities; None if this
            is unknown.
        relation: their relation to those of the split, in words.
        notes: defects of the set, and what is different in it.
        grid: the metrics.
    """

    name: str
    folder: str
    n: int
    same_images: bool | None
    relation: str
    notes: tuple[str, ...]
    grid: GridMetrics

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
        title: the image and the parameters, in words.
        image: uint8 (3, H, W), without corruption.
    """

    tiles: Tensor
    names: tuple[str, ...]
    title: str
    image: Tensor


@dataclass(frozen=True)
class CorruptionReport(Result):
    """Accuracy of a run under image corruptions: the result of `robustness.benchmark`.

    `mean_corruption_accuracy` is over the benchmark, 15 corruptions at five severities.  If some of them were not
    measured, it is None, and `partial_mean_corruption_accuracy` is over those that were.

    Attributes:
        run: name of the run.
        data: name of the dataset.
        split: name of the split.
        n: number of images.
        images: the choice of images, in words.
        seed: seed of the noise.
        parameters: the parameter set, "32", "64" or "224".
        frost: the source of the frost images; None if frost is not in the grid.
        clean: metrics on clean images.
        grid: metrics on corrupted images.
        folder: folder of the run.
        compared_with: differences from the baseline, if there is one.
        per_class: accuracies by class, if requested.
        released: metrics on a released set, if one was given.
        contact_sheet: the first image under all corruptions, if requested.
        side: shorter side of the images in pixels.
        saved: the order in which corrupted images were written, in words, if they were.
        others: the reports of further runs on the same images.
        weights_sha256: hash of the weights that were tested.
        by_arm: if several runs were tested, their comparison by arm.
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
    grid: GridMetrics = field(repr=False)
    folder: Run
    compared_with: Comparison | None = field(default=None, repr=False)
    per_class: Mapping[str, ClassAccuracy] | None = field(default=None, repr=False)
    released: ReleasedMetrics | None = field(default=None, repr=False)
    contact_sheet: ContactSheet | None = field(default=None, repr=False)
    side: int | None = None
    saved: str | None = None
    others: tuple["CorruptionReport", ...] = field(default=(), repr=False)
    weights_sha256: str = ""
    by_arm: ArmComparison | None = field(default=None, repr=False)

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

    @property
    def partial_mean_corruption_accuracy(self) -> float | None:
        """Mean accuracy over those of the benchmark that were measured; None if all were, or none."""
        return None if self.grid.is_complete else self.grid.mean_accuracy

    @property
    def parameters_note(self) -> str | None:
        """A sentence on images that are smaller than those for which any parameters were made; None for others."""
        if self.side is None or self.side >= SMALLEST_SET:
            return None
        made = f"the parameters were made for {SMALLEST_SET} px, and these images have {self.side}"
        return f"{made}: errors need not rise with severity, nor can they be compared with those of published sets"

    @property
    def labels(self) -> dict[str, str]:
        """How each corruption is shown."""
        return {name: display_name(name, self.frost) for name in self.grid.cells}

    def to_json(self) -> dict[str, Any]:
        """The document, with those of further runs under `others`, and the comparison of all by arm."""
        compared = {"comparison": self.by_arm.to_json()} if self.by_arm else {}
        return {**self.document(), "others": [report.document() for report in self.others], **compared}

    def document(self) -> dict[str, Any]:
        """The document of this run only, which `save` writes."""
        document = {
            "run": self.run,
            "weights_sha256": self.weights_sha256,
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
            document["per_class"] = {name: as_document(row) for name, row in self.per_class.items()}
        if self.released:
            document["published"] = self.released.to_json()
        if self.parameters_note:
            document["parameters_note"] = self.parameters_note
        if self.saved:
            document["saved"] = self.saved
        return document

    def for_evaluation(self) -> dict[str, Any]:
        """The entries for the document of an evaluation: the main numbers, and the report under `robustness`."""
        document = self.document()
        del document["accuracy"]  # the evaluation has it
        return {key: document[key] for key in ("corruptions", "mean_corruption_accuracy")} | {"robustness": document}

    def tables(self) -> Iterator[Table]:
        """Errors by corruption and severity, or accuracies by arm, and what was requested in addition."""
        from randhead.robustness import tables

        yield from tables.of_reports(self) if self.by_arm else tables.of_report(self)

    def save(self, run: Run | None = None, *, name: str = "corrupt-test") -> Path:
        """Write the document of this run into the reports folder of a run, by default of the tested run.

        Returns:
            The path of the JSON file, reports/NAME.json.
        """
        path = (run or self.folder).reports / f"{name}.json"
        write_json(path, self.document())
        return path

    def replaces(self) -> str | None:
        """A sentence on the more complete result that `save` replaces; None if it replaces none."""
        try:
            old = json.loads((self.folder.reports / "corrupt-test.json").read_text(encoding="utf-8"))
            complete = old["mean_corruption_accuracy"] is not None
            more = old["n"] > self.n or (complete and self.mean_corruption_accuracy is None)
            kept = f"{old['mean_over']}, and {old['images']}"
        except (OSError, ValueError, KeyError, TypeError):
            return None
        again = "its cells are kept, and the same command brings it back"
        return f"{self.run}: replaces the result for {kept} ({again})" if more else None

    def write_csv(self, path: Path) -> Path:
        """Write one line per cell, the clean images first, with all metrics of the cell."""
        columns = list(asdict(self.clean))
        lines: list[list[object]] = [["run", "parameters", "frost", "corruption", "severity", "n", *columns]]
        for name, row in {CLEAN: {0: self.clean}, **self.grid.cells}.items():
            for severity, cell in row.items():
                values = asdict(cell)
                head = [self.run, self.parameters, self.frost, name, severity, self.n]
                lines.append([*head, *(values[column] for column in columns)])
        atomic_write(path, csv_text(lines))
        return path


def is_own(name: str) -> bool:
    """Whether a corruption is the user's own: it comes from outside this package."""
    return not registry.is_builtin("corruptions", name)


def display_groups(names: Iterable[str]) -> dict[str, list[str]]:
    """The groups that tables and pictures show: built-in corruptions, and those of `names` that are the user's own.

    In documents, registered corruptions are part of the group "extra".
    """
    groups = {group: [name for name in members if not is_own(name)] for group, members in corruptions.groups().items()}
    return groups | {OWN: [name for name in names if is_own(name)]}


def display_name(name: str, frost: str | None) -> str:
    """The name of a corruption in words, marked if it is procedural frost or not in the benchmark."""
    label = name.replace("_", " ")
    if name == "frost" and frost == "procedural":
        return f"{label} (procedural)"
    if is_own(name):
        return f"{label} (own)"
    return label if name in corruptions.names("benchmark") else f"{label} (extra)"
