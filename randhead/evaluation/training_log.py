"""The training log and the kept checkpoints of a run: the input "training" of an analysis."""

import json
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from randhead.ambient import as_tensor
from randhead.errors import RunError
from randhead.evaluation.inputs import AnalysisOptions, Seen
from randhead.evaluation.session import AnalysisSession
from randhead.head import ClassVectorHead
from randhead.runs import LoadedRun, checkpoint

NO_SERIES = ("epoch", "step", "train_loss", "seconds")


class TrainingInputs:
    """Input "training": its properties are the arguments that an analysis of the training can have."""

    def __init__(self, session: AnalysisSession, loaded: LoadedRun, options: AnalysisOptions):
        self.session, self.loaded = session, loaded
        self.num_classes = loaded.model.head.num_classes

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, one per epoch.  Raises RunError if they cannot be read."""
        path = self.loaded.run.metrics_path
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            return [{"step": int(line["step"]), "train_loss": float(line["train_loss"]), **line} for line in lines]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}: not a log of a training ({error})", hint="train again with `fresh=True`") from None

    @property
    def seen(self) -> Seen:
        """What is analyzed, ready for JSON."""
        return {"epochs": len(self.log)}

    @property
    def steps(self) -> Tensor:
        """(T,) int64: the last step of each epoch."""
        return as_tensor([line["step"] for line in self.log])

    @property
    def loss(self) -> Tensor:
        """(T,) float64: the mean training loss of each epoch."""
        return as_tensor([float(line["train_loss"]) for line in self.log])

    @property
    def cosine_scale(self) -> float | None:
        """The logit scale of a cosine head at the end; None for dot-product scoring."""
        head = self.loaded.model.head
        return float(head.scale) if head.scoring == "cosine" else None

    @property
    def series(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Every other metric of the log: its steps and its values."""
        names = dict.fromkeys(name for line in self.log for name in line if name not in NO_SERIES)
        points = {n: [(line["step"], line[n]) for line in self.log if _is_number(line.get(n))] for n in names}
        return {
            name: (as_tensor([s for s, _ in found]), as_tensor([float(v) for _, v in found]))
            for name, found in points.items()
            if found
        }

    @cached_property
    def class_vectors(self) -> tuple[Tensor, Tensor] | None:
        """Steps (C,) and learned class vectors (C, K, D), the initial ones first; None for fixed class vectors."""
        head = self.loaded.model.head
        if not head.trainable:
            return None
        # Of the configuration: the geometry of a loaded head can be the vectors that its checkpoint stores.
        geometry, names = self.loaded.config.head.vectors, head.class_names
        start = ClassVectorHead(head.num_classes, head.dim, geometry, seed=head.seed, class_names=names)
        kept = {0: start.class_vectors()}
        for step in checkpoint.saved_steps(self.loaded.run.checkpoints):
            try:
                kept[step] = checkpoint.load(checkpoint.step_path(self.loaded.run.checkpoints, step))[0][
                    "model/head.vectors"
                ]
            except (RunError, KeyError) as error:
                self.session.warn(f"step {step} is left out: {error}")
        return as_tensor(list(kept)), torch.stack(list(kept.values()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
