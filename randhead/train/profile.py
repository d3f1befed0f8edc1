"""Where the time of a training went: what a Chrome trace of some steps says about each phase of a step."""

import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from randhead.files import write_json
from randhead.runs import Run
from randhead.tables import Result, Table, percent, rows
from randhead.train import phases

STEP = "training step"  # the annotation of a step and of what follows until the next one
OTHER = "other"  # time of a step that is in no phase
LAUNCHES = ("cuda_runtime", "cuda_driver")  # categories of events on the host that start work of a GPU, in its order
WORK = ("kernel", "gpu_memcpy", "gpu_memset")
FEW = 5  # steps


@dataclass(frozen=True)
class PhaseTime:
    """The time of one phase per step, in ms: on the host, and of the work that it gives to a GPU (None on a CPU)."""

    phase: str
    cpu_ms: float
    device_ms: float | None = None


@dataclass(frozen=True)
class EpochTime:
    """The time of an epoch in s, of which `saving` is what training waits for; files are written beside it."""

    steps_s: float
    validating_s: float
    saving_s: float


@dataclass(frozen=True)
class TrainingProfile(Result):
    """Where the time of a training went.

    Attributes:
        first_step: the first profiled step, counted from 1.
        last_step: the last one.
        device: the device of the training, in words.
        step_ms: mean time from step to step, without validating and saving.
        images_per_second: training images per second of this time.
        phases: the time of each phase.
        epoch: the time of an epoch with such steps; None if no epoch ended after the profiled steps.
        trace: the Chrome trace of these steps (Perfetto and chrome://tracing open it); None if it was not written.
    """

    first_step: int
    last_step: int
    device: str
    step_ms: float
    images_per_second: float
    phases: tuple[PhaseTime, ...]
    epoch: EpochTime | None = None
    trace: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """The content of reports/profile.json."""
        return {
            "steps": [self.first_step, self.last_step],
            "device": self.device,
            "step_ms": round(self.step_ms, 4),
            "images_per_second": round(self.images_per_second, 1),
            "phases": [self._document(each) for each in self.phases],
            "epoch": self.epoch and {name: round(value, 4) for name, value in vars(self.epoch).items()},
            "trace": None if self.trace is None else f"{self.trace.parent.name}/{self.trace.name}",
        }

    def save(self, run: Run) -> Path:
        """Write reports/profile.json."""
        path = run.reports / "profile.json"
        write_json(path, self.to_json())
        return path

    def tables(self) -> Iterator[Table]:
        """The phases of a step, and the parts of an epoch."""
        on_device = any(each.device_ms is not None for each in self.phases)
        device = sum(each.device_ms or 0.0 for each in self.phases) if on_device else None
        one = self.first_step == self.last_step
        steps = f"step {self.first_step}" if one else f"steps {self.first_step} to {self.last_step}"
        times = [(each.phase, each.cpu_ms, each.device_ms) for each in self.phases] + [("step", self.step_ms, device)]
        lines = [(name, _digits(ms), percent(ms / self.step_ms), _digits(gpu)) for name, ms, gpu in times]
        columns = ("phase", "CPU (ms)", "share", "GPU (ms)")
        table = Table(f"Time per step, {steps}", columns, rows(lines), tuple(self._notes(device)))
        yield table.without_empty_columns()
        if self.epoch is not None:
            parts = {
                "steps": self.epoch.steps_s,
                phases.VALIDATING: self.epoch.validating_s,
                phases.SAVING: self.epoch.saving_s,
            }
            whole = sum(parts.values())
            epoch = [(name, _digits(seconds), percent(seconds / whole)) for name, seconds in parts.items()]
            yield Table("Time per epoch", ("part", "seconds", "share"), rows(epoch))

    def _document(self, each: PhaseTime) -> dict[str, Any]:
        found = {"phase": each.phase, "cpu_ms": round(each.cpu_ms, 4), "share": round(each.cpu_ms / self.step_ms, 4)}
        return found if each.device_ms is None else {**found, "device_ms": round(each.device_ms, 4)}

    def _notes(self, device: float | None) -> Iterator[str]:
        yield f"{self.device}; {self.images_per_second:,.0f} images/s"
        yield "the profiler slows small operations"
        if device is not None:
            yield f"the GPU works {percent(min(1.0, device / self.step_ms))} of the time"
        if self.last_step - self.first_step + 1 < FEW:
            yield "so few steps say little, those after a start even less: train for more epochs"


def _digits(value: float | None) -> str | None:
    """A time with three decimals, so that the decimal points of a column are aligned."""
    return None if value is None else f"{value:,.3f}"


class _Span(NamedTuple):
    start: float
    end: float
    name: str


def of_trace(events: Iterable[Mapping[str, Any]]) -> tuple[int, float, tuple[PhaseTime, ...]]:
    """The time of each phase in the events of a Chrome trace with annotations of STEP and of the phases.

    Work of a GPU belongs to the phase in which it was launched, by whichever thread (a backward pass has its own).

    Args:
        events: the "traceEvents" of a trace of torch, times in us.

    Returns:
        The number of steps, the mean time of one in ms without validating and saving, and the phases, with the rest of
        a step as OTHER.
    """
    events = [event for event in events if event.get("ph") == "X"]
    annotations = _annotations(events)
    spans = _segments(annotations)
    starts = [span.start for span in spans]
    cpu, device = defaultdict[str, float](float), defaultdict[str, float](float)
    for span in spans:
        cpu[span.name] += span.end - span.start
    launched = {event["args"]["correlation"]: event["ts"] for event in events if _is(event, LAUNCHES)}
    work = [event for event in events if _is(event, WORK)]
    for event in work:
        moment = launched.get(event["args"]["correlation"], -1.0)
        at = bisect.bisect_right(starts, moment) - 1
        if at >= 0 and moment < spans[at].end:
            device[spans[at].name] += event["dur"]
    count = sum(event["name"] == STEP for event in annotations)
    named = {name: name for name in phases.OF_STEP} | {OTHER: STEP}
    found = tuple(
        PhaseTime(name, cpu[key] / count / 1000, device[key] / count / 1000 if work else None)
        for name, key in named.items()
        if key in cpu
    )
    return count, sum(each.cpu_ms for each in found), found


def _is(event: Mapping[str, Any], categories: tuple[str, ...]) -> bool:
    return event.get("cat") in categories and "correlation" in event.get("args", {})


def _annotations(events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The annotations of steps and of phases, of the thread that makes the steps."""
    names = {STEP, *phases.OF_STEP, *phases.OF_EPOCH}
    found = [event for event in events if event.get("cat") == "user_annotation" and event["name"] in names]
    threads = {(event["pid"], event["tid"]) for event in found if event["name"] == STEP}
    return [event for event in found if (event["pid"], event["tid"]) in threads]


def _segments(annotations: Iterable[Mapping[str, Any]]) -> list[_Span]:
    """The times of nested annotations as spans that do not overlap, each with the name of the innermost one."""
    given = sorted((event["ts"], -event["dur"], event["name"]) for event in annotations)
    found: list[_Span] = []
    open_: list[_Span] = []
    now = 0.0

    def close(until: float) -> None:
        nonlocal now
        while open_ and open_[-1].end <= until:
            inner = open_.pop()
            found.append(_Span(now, inner.end, inner.name))
            now = inner.end

    for start, minus, name in given:
        close(start)
        if open_:
            found.append(_Span(now, start, open_[-1].name))
        elif name != STEP:  # before the first step
            continue
        open_.append(_Span(start, start - minus, name))
        now = start
    close(float("inf"))
    return found
