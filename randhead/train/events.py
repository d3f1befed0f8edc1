"""The events of a training."""

from dataclasses import dataclass

from torch import Tensor

from randhead.config.resolved import ResolvedSettings
from randhead.head import Preflight
from randhead.runs import Run, TrainingSummary
from randhead.train.log import EpochMetrics
from randhead.train.profile import TrainingProfile


@dataclass(frozen=True)
class Started:
    """Training starts, or resumes from `step`."""

    run: Run
    step: int
    total_steps: int
    parameters: int
    device: str
    precision: str  # bf16 or fp32
    check: Preflight
    settings: ResolvedSettings
    notes: tuple[str, ...] = ()  # what a reader would not expect: the recipe, what a trained encoder is used to


@dataclass(frozen=True)
class Warned:
    """A warning for the user; training continues."""

    message: str


@dataclass(frozen=True)
class StepDone:
    """One step of the optimiser."""

    step: int
    epoch: int
    mean_loss: Tensor | float  # nats; a tensor on a CUDA device, for which a step does not wait

    @property
    def loss(self) -> float:
        """The mean loss in nats.  On a CUDA device, reading it waits until the step is done."""
        return float(self.mean_loss)


@dataclass(frozen=True)
class EpochDone:
    """One epoch, with its validation.  `best`: its weights are the best so far.

    These are written while the next epoch is trained, and are complete before the next checkpoint is begun.
    """

    epoch: int
    epochs: int
    metrics: EpochMetrics
    best: bool


@dataclass(frozen=True)
class Profiled:
    """Where the time of a profiled training went; its files are in reports/ of the run."""

    profile: TrainingProfile


@dataclass(frozen=True)
class Stopped:
    """`should_stop` returned True: everything up to `step` is saved."""

    step: int


@dataclass(frozen=True)
class Finished:
    """The result of the training, which is also in summary.json."""

    summary: TrainingSummary


Event = Started | Warned | StepDone | EpochDone | Profiled | Stopped | Finished
