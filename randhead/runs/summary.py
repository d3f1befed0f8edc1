"""The result of a training: the metrics of the selected weights, and the time that training took."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from randhead.files import write_json
from randhead.intervals import of_accuracy
from randhead.tables import Result, Table, nats, percent, rows

if TYPE_CHECKING:
    from randhead.runs.folder import Run

LISTS = ("bad_images", "notes", "warnings")
# Entries per class of `test`, which version 0.1.0 wrote: "confusion" is a matrix, 10 MB of 1,000 classes.
PER_CLASS = ("per_class_accuracy", "per_class_n", "confusion", "confused_pairs")
BEFORE, AFTER = b'"per_class_accuracy": [', b'"diagnostics": {'  # the first of these entries, and what follows them
SMALL = 1 << 16  # bytes: of a larger file, which is one of version 0.1.0, these entries are not read


@dataclass(frozen=True)
class SelectedEpoch:
    """The epoch whose weights were selected, by its metrics on the validation split."""

    epoch: int
    accuracy: float
    nll: float | None = None  # None for instance labels

    def to_json(self) -> dict[str, Any]:
        """The entry in checkpoints and summary.json."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "SelectedEpoch":
        """The inverse of `to_json`."""
        nll = content.get("nll")
        return cls(int(content["epoch"]), float(content["accuracy"]), None if nll is None else float(nll))


@dataclass(frozen=True)
class TrainingSummary(Result):
    """The result of a finished training, which is also in summary.json of the run folder.

    Attributes:
        path: the run folder.
        run: name of the run.
        epochs: number of epochs trained.
        selected: the epoch whose weights were selected on the validation split.
        val: accuracy, its interval, NLL and number of images of the selected weights on the validation split.
        test: the metrics of the evaluation on the test split, which was used once, at the end, without those per class.
        seconds: time of all training steps, including those before the run was resumed.
        images_per_second: training images per second of this time.
        device: the device of the training, in words.
        bad_images: image files that could not be used and were left out.
        weights_sha256: hash of the selected weights.
        versions: versions of randhead, torch, torchvision and Python.
        notes: what a reader would not expect: what the recipe set, what a trained encoder is used to.
        warnings: what was found at the end that makes the result doubtful.
    """

    path: Path
    run: str
    epochs: int
    selected: SelectedEpoch
    val: Mapping[str, Any]
    test: Mapping[str, Any]
    seconds: float
    images_per_second: float
    device: str
    bad_images: tuple[str, ...]
    weights_sha256: str
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The content of summary.json."""
        content = {name: value for name, value in vars(self).items() if name != "path"}
        content |= {name: dict(content[name]) for name in ("val", "test", "versions")}
        lists = {name: list(content[name]) for name in LISTS}
        return {**content, "selected": self.selected.to_json(), **lists}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], path: Path) -> "TrainingSummary":
        """The inverse of `to_json`, for the run folder `path`.

        Raises:
            KeyError: if an entry is missing.
            TypeError: if an entry has a wrong type.
        """
        names = [name for name in cls.__dataclass_fields__ if name not in ("path", "selected", *LISTS)]
        selected = SelectedEpoch.from_json(content["selected"])
        for name in ("val", "test"):
            _ = content[name]["accuracy"]
        found = {name: content[name] for name in names}
        found["test"] = {name: value for name, value in content["test"].items() if name not in PER_CLASS}
        lists: dict[str, Any] = {name: tuple(content.get(name, ())) for name in LISTS}  # one of 0.1.0 has the first
        return cls(path=path, selected=selected, **lists, **found)

    def save(self, run: "Run") -> Path:
        """Write summary.json, which marks the run as finished."""
        write_json(run.summary_path, self.to_json())
        return run.summary_path

    def tables(self) -> Iterator[Table]:
        """The metrics on both splits, and the time that training took."""
        test, val = self.test, self.val
        neighbours = ", by 20 nearest training images" if "knn_20" in test else ""
        lines = [
            ("test accuracy", percent(test["accuracy"]), limits(test), f"n = {test['n']}{neighbours}"),
            ("test NLL", nats(test["nll"]), "", ""),
            ("test ECE", percent(test["ece"]), "", "15 bins of equal width"),
            ("val accuracy", percent(val["accuracy"]), limits(val), f"selected epoch {self.selected.epoch}"),
            ("training", f"{self.seconds:.1f} s", "", f"{self.images_per_second:,.0f} images/s"),
        ]
        yield Table("", ("metric", "value", "95 % interval", ""), rows(line for line in lines if line[1]))


def summary_text(path: Path) -> str:
    """The text of summary.json; of a large one of version 0.1.0, the text without the entries per class of `test`.

    So `list` reads 10 kB per run, not 10 MB.
    """
    with path.open("rb") as file:
        start = file.read(SMALL)
        if len(start) == SMALL:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - SMALL, SMALL))
            end = file.read()
            first, last = start.find(BEFORE), end.rfind(AFTER)
            if min(first, last) >= 0:
                start, end = start[:first], end[last:]
            else:
                file.seek(SMALL)
                end = file.read()
            start += end
    return start.decode("utf-8")


def limits(found: Mapping[str, Any]) -> str:
    """The 95 percent interval of an accuracy: "98.00 to 99.85 %"; nothing if a run of 0.1.0 has not kept its n."""
    interval = of_accuracy(found["accuracy"], found.get("n"))
    return interval.percent() if interval else ""
