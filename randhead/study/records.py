"""What is kept of a run of a study: every number that tables and pictures need, in one small JSON file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NAME = "study.json"  # in the reports of the run


@dataclass(frozen=True)
class RunRecord:
    """A finished run, or one that diverged, which is a result too.

    Attributes:
        run: name of the run folder.
        arm: name of the arm.
        head_seed: seed of the class vectors.
        seed: seed of everything else.
        tuned: the tuned settings with the values of this run.
        tuning: whether the run is one of the sweep, which is not reported.
        diverged: why the training diverged, in words; "" if it did not.
        metrics: the metrics of `study.metrics` by key; None for one that is undefined.
        curves: one value per epoch: "val_accuracy", "train_loss".
        corruptions: accuracy by corruption, one value per severity of the study.
        counts: numbers of images: "train", "val", "test", "corrupted"; and "classes".
        images: fingerprint of the images and labels.
        val: accuracy and NLL of the selected weights on the validation split.
        seconds: time of the training steps.
        weights_sha256: hash of the selected weights; "" if the run diverged.
        environment: device, precision and versions.
    """

    run: str
    arm: str
    head_seed: int
    seed: int
    tuned: Mapping[str, Any] = field(default_factory=dict)
    tuning: bool = False
    diverged: str = ""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    corruptions: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    images: str = ""
    val: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    weights_sha256: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
