"""What a training reports while it runs."""

from dataclasses import dataclass
from typing import Any

from randhead.head.preflight_check import Preflight
from randhead.runs import Run


@dataclass(frozen=True)
class Started:
    """Training begins, or goes on after `step`."""

    run: Run
    step: int
    total_steps: int
    parameters: int
    device: str
    check: Preflight
    facts: dict[str, Any]


@dataclass(frozen=True)
class Warned:
    """Something the user should know; training goes on."""

    message: str


@dataclass(frozen=True)
class StepDone:
    """One step of the optimiser."""

    step: int
    epoch: int
    loss: float


@dataclass(frozen=True)
class EpochDone:
    """One epoch, with its validation.  `figures` is the line that goes into metrics.jsonl."""

    epoch: int
    epochs: int
    figures: dict[str, Any]
    best: bool


@dataclass(frozen=True)
class Stopped:
    """`stop` answered yes: everything up to `step` is saved."""

    step: int


@dataclass(frozen=True)
class Finished:
    """The final figures, as summary.json holds them."""

    summary: dict[str, Any]


Event = Started | Warned | StepDone | EpochDone | Stopped | Finished
