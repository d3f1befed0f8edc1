"""The training log metrics.jsonl: one line per epoch."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from randhead.files import atomic_write, naming, sync_file


@dataclass(frozen=True)
class StepMetrics:
    """The learning rate and the gradient norms of the last step of an epoch."""

    lr: float
    grad_norm_backbone: float
    grad_norm_vectors: float | None = None  # of learned class vectors
    normaliser_error_bound: float | None = None  # nats; of the softmax method "expected"

    def to_json(self) -> dict[str, float]:
        """The values that are not None."""
        return _existing(self)


@dataclass(frozen=True)
class EpochMetrics:
    """The metrics of one epoch; None for metrics that do not apply to its head or labels."""

    epoch: int
    step: int
    train_loss: float  # nats, mean over images
    val_accuracy: float
    val_nll: float | None
    val_knn_1: float | None
    val_logit_min: float | None
    val_logit_max: float | None
    lr: float  # of the last step, like the next three
    grad_norm_backbone: float
    grad_norm_vectors: float | None
    normaliser_error_bound: float | None
    scale: float
    vector_drift_deg: float | None  # mean angle between learned class vectors and their start
    seconds: float  # total time of the steps so far

    def to_json(self) -> dict[str, Any]:
        """The line of metrics.jsonl."""
        return _existing(self)


def append(path: Path, metrics: EpochMetrics) -> None:
    """Append the line of an epoch."""
    with naming(path), os.fdopen(_open(path, os.O_CREAT), "a", encoding="utf-8") as file:
        file.write(json.dumps(metrics.to_json()) + "\n")


def sync(path: Path) -> None:
    """Wait until the lines of a log are on disk, as they must be before the checkpoint of their epoch."""
    if path.exists():
        with naming(path), os.fdopen(_open(path), "a") as file:
            sync_file(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of the epochs, oldest first."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def truncate(path: Path, epochs: int) -> None:
    """Keep the lines of the finished epochs: a killed process can leave a later line, or a part of one."""
    if not path.is_file():  # nothing, or a link to nothing, or a FIFO
        path.unlink(missing_ok=True)
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["epoch"] <= epochs:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    atomic_write(path, "".join(kept))


def _open(path: Path, flags: int = 0) -> int:
    """A handle for lines at the end.  No link is followed: the run folder may come from somebody else."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _existing(metrics: StepMetrics | EpochMetrics) -> dict[str, Any]:
    return {name: value for name, value in vars(metrics).items() if value is not None}
