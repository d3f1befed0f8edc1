"""The stored results of a grid of corruptions: sums and one bit per image for each cell, in a file to resume from.

A cell is a corruption at a severity.  The sums give the means and the calibration error (with bins of equal width).
The bit per image says whether it was classified correctly; it is used for intervals and to compare two models.  Each
file belongs to one identity: the weights, the images, the seed and everything else that a cell depends on.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import randhead
from randhead import metrics
from randhead.errors import RunError
from randhead.files import sha256
from randhead.intervals import Interval, wilson
from randhead.losses import HeadOutput
from randhead.metrics import BINS
from randhead.runs import checkpoint

MEANS = ("nll", "feature_norm", "cosine", "margin")


@dataclass(frozen=True)
class CellMetrics:
    """Metrics of one cell.

    Attributes:
        accuracy: share of images that are classified correctly.
        error: 1 - accuracy.
        standard_error: of both, binomial.
        accuracy_low: lower limit of the 95 percent interval of the accuracy (Wilson).
        accuracy_high: its upper limit.
        nll: mean negative log-likelihood of the label, in nats.
        feature_norm: mean norm of the features.
        cosine: mean cosine of the features to the class vector of the label.
        margin: mean of that cosine minus the largest cosine to another class vector.
        ece: expected calibration error, 15 bins of equal width.
    """

    accuracy: float
    error: float
    standard_error: float
    accuracy_low: float
    accuracy_high: float
    nll: float
    feature_norm: float
    cosine: float
    margin: float
    ece: float

    @property
    def interval(self) -> Interval:
        """The 95 percent interval of the accuracy."""
        return Interval(self.accuracy_low, self.accuracy_high)


@dataclass
class Cell:
    """One cell.

    Attributes:
        seen: number of images added so far.
        correct: bool (N,), whether each image was classified correctly.
        sums: float64 (19,): MEANS, then the gaps of the calibration bins.
    """

    seen: int
    correct: Tensor
    sums: Tensor


class Accumulator:
    """The cells of one model on a number of images, which are added in order.

    Args:
        n: number of images.
        identity: everything that the cells depend on, ready for JSON.
        path: file to save the cells to, and to read them from if it has the same identity.

    Attributes:
        note: the reason why the file could not be read or written, or None.
    """

    def __init__(self, n: int, identity: Mapping[str, object], path: Path | None = None):
        self.n, self.path = n, path
        self.identity = {**identity, "n": n, "randhead": randhead.__version__}
        self._cells: dict[tuple[str, int], Cell] = {}
        self._waiting: list[tuple[Cell, int, Tensor, Tensor]] = []  # on their device, in the order of `add`
        self.note: str | None = None
        if path is not None and path.exists():
            self._load(path)

    @property
    def cells(self) -> dict[tuple[str, int], Cell]:
        """The cells, by corruption and severity; what was added since is read from the device first, all at once."""
        self._read()
        return self._cells

    def seen(self, name: str, severity: int) -> int:
        """The number of images that were added to a cell."""
        cell = self._cells.get((name, severity))
        return cell.seen if cell else 0

    def add(self, name: str, severity: int, start: int, correct: Tensor, sums: Tensor) -> None:
        """Add the results of `measure` for images start..start+B-1: correct (B,) bool, sums float64.

        They are read from their device when they are asked for.
        """
        cell = self._cells.get((name, severity))
        if cell is None:
            right = torch.zeros(self.n, dtype=torch.bool, device="cpu")
            cell = Cell(0, right, torch.zeros(len(MEANS) + BINS, dtype=torch.float64, device="cpu"))
            self._cells[name, severity] = cell
        if start != cell.seen:
            raise ValueError(f"cell {name} {severity} has seen {cell.seen} images and cannot resume at {start}")
        self._waiting.append((cell, start, correct, sums))
        cell.seen += len(correct)

    def _read(self) -> None:
        """Read what was added since, from the device at once."""
        if not self._waiting:
            return
        cells, starts, correct, sums = zip(*self._waiting, strict=True)
        self._waiting = []
        parts = torch.cat(correct).cpu().split([len(part) for part in correct])
        for cell, start, right, values in zip(cells, starts, parts, torch.stack(sums).cpu(), strict=True):
            cell.correct[start : start + len(right)] = right
            cell.sums += values

    def correct(self, name: str, severity: int) -> Tensor:
        """Whether each image was classified correctly: (N,) bool."""
        return self.cells[name, severity].correct

    def metrics(self, name: str, severity: int) -> CellMetrics:
        """The metrics of a cell, over the images added so far."""
        cell = self.cells[name, severity]
        right = int(cell.correct.sum())
        accuracy, interval = right / cell.seen, wilson(right, cell.seen)
        means = (cell.sums[: len(MEANS)] / cell.seen).tolist()
        return CellMetrics(
            accuracy=accuracy,
            error=1 - accuracy,
            standard_error=metrics.binomial_error(accuracy, cell.seen),
            accuracy_low=interval.low,
            accuracy_high=interval.high,
            **dict(zip(MEANS, means, strict=True)),
            ece=(cell.sums[len(MEANS) :].abs().sum() / cell.seen).item(),
        )

    def save(self) -> None:
        """Write the cells to the file, if there is one; if that is impossible, they are only kept in memory."""
        if self.path is None:
            return
        tensors, seen = {}, {}
        for (name, severity), cell in self.cells.items():
            key = f"{name}/{severity}"
            tensors[f"{key}/correct"], tensors[f"{key}/sums"] = cell.correct, cell.sums
            seen[key] = cell.seen
        try:
            checkpoint.save(self.path, tensors, {"identity": self.identity, "seen": seen})
        except RunError as error:  # on a read-only or full disk, the answer is still worth having
            self.path, self.note = None, f"{error.message}; the grid cannot be resumed"

    def _load(self, path: Path) -> None:
        try:
            tensors, document = checkpoint.load(path)
            if document["identity"] != self.identity:
                return
            for key, seen in document["seen"].items():
                name, _, severity = key.rpartition("/")
                cell = Cell(seen, tensors[f"{key}/correct"], tensors[f"{key}/sums"])
                self._cells[name, int(severity)] = cell
        except (RunError, KeyError, TypeError, AttributeError) as error:
            self._cells = {}
            self.note = f"{path} cannot be used ({error}): the grid starts again"


def open_accumulator(folder: Path, n: int, identity: Mapping[str, object]) -> Accumulator:
    """The accumulator of an identity, with the cells that a folder already has for it."""
    digest = sha256(json.dumps(identity, sort_keys=True).encode())[:12]
    return Accumulator(n, identity, folder / f"corruption-cells-{digest}.safetensors")


def measure(features: Tensor, output: HeadOutput, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Measure a batch, to be added to a cell.

    Args:
        features: (B, D).
        output: the output of the head for them.
        labels: (B,) int64.

    Returns:
        Whether each image is classified correctly, bool (B,), and sums, float64 (19,).  The margin is a difference of
        cosines: unlike a difference of logits, it does not depend on the scale.
    """
    correct = output.predictions == labels
    margins = output.target_cosine - output.non_target_cosine
    means = [output.losses, features.double().norm(dim=1), output.target_cosine, margins]
    gaps = metrics.calibration_gaps(output.confidences, correct)
    return correct, torch.cat([torch.stack([value.sum() for value in means]), gaps])
