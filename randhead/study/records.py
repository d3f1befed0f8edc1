"""What is kept of a run of a study: every number that tables and pictures need, in one small JSON file."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from randhead.errors import UsageError
from randhead.study.documents import FLAG, FLAT, FOLDER, NUMBER, SETTING, TEXT, WHOLE, check_format, entries
from randhead.study.metrics import CONVERGED, METRICS

FILE = "study.json"  # in the reports of the run
FORMAT = "randhead study run 1"
ROUNDING = 1e-6
KINDS = {
    "run": FOLDER,
    "arm": TEXT,
    "head_seed": WHOLE,
    "seed": WHOLE,
    "tuned": SETTING.by_name(),
    "tuning": FLAG,
    "diverged": TEXT,
    "metrics": NUMBER.or_none().by_name(),
    "curves": NUMBER.or_none().list().by_name(),
    "corruptions": NUMBER.or_none().list().by_name(),
    "severities": WHOLE.list(),
    "counts": WHOLE.by_name(),
    "images": TEXT,
    "val": NUMBER.or_none().by_name(),
    "seconds": NUMBER,
    "weights_sha256": TEXT,
    "environment": FLAT.by_name(),
}


@dataclass(frozen=True)
class RunRecord:
    """A finished run, or one that diverged, which is a result too.

    A number that is not finite is None, as in JSON, which has no others; so `from_json(to_json())` is equal.

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
        corruptions: accuracy by corruption, one value per severity.
        severities: of the corruptions.
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
    curves: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    corruptions: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    severities: tuple[int, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    images: str = ""
    val: Mapping[str, float | None] = field(default_factory=dict)
    seconds: float = 0.0
    weights_sha256: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("metrics", "val"):
            values = {key: _finite(value) for key, value in getattr(self, name).items()}
            object.__setattr__(self, name, values)
        for name in ("curves", "corruptions"):
            lists = {key: tuple(map(_finite, values)) for key, values in getattr(self, name).items()}
            object.__setattr__(self, name, lists)

    @property
    def seeds(self) -> tuple[int, int]:
        """Head seed and training seed; runs of two arms with the same are a pair."""
        return self.head_seed, self.seed

    def value(self, metric: str) -> float | None:
        """The value of a metric; None if there is none.  A run that diverged has only one: it did not converge."""
        if self.diverged:
            return 0.0 if metric == CONVERGED else None
        return self.metrics.get(metric)

    def to_json(self) -> dict[str, Any]:
        """The document, ready for JSON; floats keep every bit there."""
        lists = {name: {key: list(v) for key, v in getattr(self, name).items()} for name in ("curves", "corruptions")}
        maps = {name: dict(getattr(self, name)) for name in ("tuned", "metrics", "counts", "val", "environment")}
        return {"format": FORMAT, **vars(self), **maps, **lists, "severities": list(self.severities)}

    @classmethod
    def from_json(cls, document: Any) -> "RunRecord":
        """The inverse of `to_json`, for a document that may come from anybody.

        Raises:
            UsageError: for a document of another format, an entry that is missing, unknown or of another type, and a
                share, such as an accuracy, that is not from 0 to 1.
        """
        content = check_format("the record of a run of a study", document, FORMAT)
        content = entries("the record of a run", content, KINDS)
        for key, value in content["metrics"].items():
            _check_share(content["run"], key, value)
        return cls(**{**content, "severities": tuple(content["severities"])})


def _check_share(run: str, key: str, value: float | None) -> None:
    """Refuse a share that is none, such as one in percent; rounding may bring one a little beyond."""
    is_share = key in METRICS and METRICS[key].unit == "%"
    if is_share and value is not None and not -ROUNDING <= value <= 1 + ROUNDING:
        raise UsageError(f"{run}: {key} is {value:g}, and must be from 0 to 1")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
