"""What is kept of a grid of corruptions: sums and one bit an image for each cell, and a file to go on from.

A cell is a corruption at a severity.  Means come from sums; the calibration error too, whose bins of equal width are
sums; which images were right tells two models apart on the same images (paired bootstrap).  The file belongs to one
identity: the weights, the images, the seed and whatever else a cell depends on.  Another identity has another file.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import randhead
from randhead.errors import RunError
from randhead.evaluation import metrics
from randhead.evaluation.metrics import BINS
from randhead.files import sha256
from randhead.losses import Answers
from randhead.runs import checkpoint

MEANS = ("nll", "feature_norm", "cosine", "margin")


@dataclass
class Cell:
    """One cell: images seen so far, which of them were right (N,) bool, and sums: MEANS, then the gaps of the bins."""

    seen: int
    correct: Tensor
    sums: Tensor


class Tally:
    """The cells of one model on `n` images, in order.  With a `path` they are read from there and saved there."""

    def __init__(self, n: int, identity: dict[str, Any], path: Path | None = None):
        self.n, self.path = n, path
        self.identity = {**identity, "n": n, "randhead": randhead.__version__}
        self.cells: dict[tuple[str, int], Cell] = {}
        self.note: str | None = None  # what was wrong with the file
        if path is not None and path.exists():
            self._load()

    def seen(self, name: str, severity: int) -> int:
        """How many images the cell has seen."""
        cell = self.cells.get((name, severity))
        return cell.seen if cell else 0

    def add(self, name: str, severity: int, start: int, correct: Tensor, sums: Tensor) -> None:
        """Add images start..start+b-1: what `measure` says of them."""
        cell = self.cells.get((name, severity))
        if cell is None:
            cell = Cell(0, torch.zeros(self.n, dtype=torch.bool), torch.zeros(len(MEANS) + BINS, dtype=torch.float64))
            self.cells[name, severity] = cell
        if start != cell.seen:
            raise ValueError(f"cell {name} {severity} has seen {cell.seen} images and cannot go on at {start}")
        cell.correct[start : start + len(correct)] = correct.cpu()
        cell.sums += sums.cpu()
        cell.seen += len(correct)

    def correct(self, name: str, severity: int) -> Tensor:
        """Which images were right: (N,) bool."""
        return self.cells[name, severity].correct

    def figures(self, name: str, severity: int) -> dict[str, float]:
        """The figures of a cell, of the images seen so far."""
        cell = self.cells[name, severity]
        accuracy = cell.correct.sum().item() / cell.seen
        means = (cell.sums[: len(MEANS)] / cell.seen).tolist()
        return {
            "accuracy": accuracy,
            "error": 1 - accuracy,
            "standard_error": metrics.binomial_error(accuracy, cell.seen),
            **dict(zip(MEANS, means, strict=True)),
            "ece": (cell.sums[len(MEANS) :].abs().sum() / cell.seen).item(),
        }

    def save(self) -> None:
        """Write the cells to the file, if there is one."""
        if self.path is None:
            return
        tensors, seen = {}, {}
        for (name, severity), cell in self.cells.items():
            key = f"{name}/{severity}"
            tensors[f"{key}/correct"], tensors[f"{key}/sums"] = cell.correct, cell.sums
            seen[key] = cell.seen
        checkpoint.save(self.path, tensors, {"identity": self.identity, "seen": seen})

    def _load(self) -> None:
        try:
            tensors, document = checkpoint.load(self.path)
            if document["identity"] != self.identity:
                return
            for key, seen in document["seen"].items():
                name, _, severity = key.rpartition("/")
                cell = Cell(seen, tensors[f"{key}/correct"], tensors[f"{key}/sums"])
                self.cells[name, int(severity)] = cell
        except (RunError, KeyError, TypeError, AttributeError) as error:
            self.cells = {}
            self.note = f"{self.path} cannot be used ({error}): the grid starts anew"


def open_tally(folder: Path, n: int, identity: dict[str, Any]) -> Tally:
    """The tally of an identity, with what a folder already has of it."""
    digest = sha256(json.dumps(identity, sort_keys=True).encode())[:12]
    return Tally(n, identity, folder / f"corruption-cells-{digest}.safetensors")


def measure(features: Tensor, answers: Answers, labels: Tensor) -> tuple[Tensor, Tensor]:
    """What a batch adds to a cell: right answers (B,) bool and sums (4 + BINS,) float64.

    features (B, D), what the head says of them, labels (B,).  The margin is the cosine to the own class vector minus
    the largest cosine to another: it has no scale, unlike a margin of logits.
    """
    correct = answers.predictions == labels
    margins = answers.own_cosine - answers.other_cosine
    means = [answers.losses, features.double().norm(dim=1), answers.own_cosine, margins]
    gaps = metrics.calibration_gaps(answers.confidences, correct)
    return correct, torch.cat([torch.stack([value.sum() for value in means]), gaps])
