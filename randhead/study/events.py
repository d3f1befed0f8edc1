"""The events of a study, beside those of its trainings."""

from dataclasses import dataclass

from randhead.study.plan import PlannedRun
from randhead.study.records import RunRecord

OF_ARM = "first in arm "  # how a warning begins that came while an arm was trained


@dataclass(frozen=True)
class RunStarted:
    """A run starts, or is resumed, while `done` of the `total` runs of the study are finished."""

    run: PlannedRun
    done: int
    total: int


@dataclass(frozen=True)
class RunDone:
    """A run is finished and measured, or has diverged; `done` counts it."""

    record: RunRecord
    done: int
    total: int
