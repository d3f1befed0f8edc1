"""Profiling: torch's profiler records some steps of a training, and a clock what is done once per epoch."""

import contextlib
import gzip
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, record_function

from randhead.device import device_name
from randhead.errors import RunError, StopRequested, UsageError
from randhead.files import atomic_write, described
from randhead.runs import Run, replacement
from randhead.train.events import EpochDone, Event, Profiled, StepDone, Warned
from randhead.train.phases import LOSSES, SAVING, VALIDATING, phase
from randhead.train.profile import STEP, EpochTime, TrainingProfile, of_trace
from randhead.train.trainer import Trainer

WARM_UP = 10  # steps that are not recorded: the first ones choose algorithms, compile and fill caches
STEPS = 10  # steps that are recorded, so that the trace stays small whatever the training
TRACE = "profile-trace.json.gz"


def check(run: Run, *, finished: bool) -> None:
    """Raise RunError if a run is finished, and UsageError if a profiler is running: torch has one at a time."""
    if finished:
        raise RunError(
            f"{run.path} is finished, so that no step is left to profile",
            hint="train it again with `fresh=True`, or another run with `name`",
        )
    if torch.autograd._profiler_enabled():
        hint = "leave out `profile`: that profiler shows the phases too"
        raise UsageError("a profiler of torch is running already", hint=hint)


def profiled(trainer: Trainer) -> Iterator[Event]:
    """Run the remaining epochs, as `trainer.train()`, while some of the steps are profiled.

    Yields:
        The events of the training, and `Profiled` at the end of the first epoch that has no step to profile left.

    Raises:
        StopRequested, DivergedError, RunError: as `trainer.train()`.
    """
    with StepProfiler(trainer) as profiler:
        try:
            for event in trainer.train():
                yield event
                if isinstance(event, StepDone):
                    profiler.next_step()
                elif isinstance(event, EpochDone):
                    profiler.epochs += 1
                    yield from profiler.report()
        except StopRequested:
            yield from profiler.report()
            if trainer.state.step < profiler.last:
                yield Warned(f"nothing is profiled: stopped before step {profiler.last}")
            raise
        if profiler.first == profiler.last:
            yield Warned("nothing is profiled: no step was left; `fresh=True` trains all of them again")


class StepProfiler:
    """Records some of the next steps of a training.

    A context that ends the recording, however the training ends.

    Attributes:
        first: number of steps that the training has made when the recording begins.
        last: likewise, when it ends.
        epochs: number of epochs that have ended in this context.
    """

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        left = trainer.total_steps - trainer.state.step
        self.first = trainer.state.step + min(WARM_UP, max(0, left - 1) // 2)
        self.last = min(self.first + STEPS, trainer.total_steps)
        self.epochs = 0
        self._profile: TrainingProfile | None = None  # until it is reported
        self._seconds = defaultdict[str, float](float)  # of what is done once per epoch
        self._recording, self._step = contextlib.ExitStack(), contextlib.ExitStack()
        self._profiler: torch.profiler.profile | None = None
        self._warnings: list[Warned] = []

    def __enter__(self) -> "StepProfiler":
        self.trainer.phase = self._timed
        self.next_step()
        return self

    def __exit__(self, *exc: object) -> None:
        self.trainer.phase = phase
        self._step.close()
        self._recording.close()

    def next_step(self) -> None:
        """End the recording of a step, and begin that of the next one if it is recorded."""
        step, is_last = self.trainer.state.step, self.trainer.state.step == self.last
        if is_last:
            self._wait()
        self._step.close()
        if is_last and self._profiler is not None:
            self._end(self._profiler)
        if step == self.first < self.last:
            self._wait()
            self._profiler = self._start()
        if self.first <= step < self.last:
            self._step.enter_context(record_function(STEP))

    def report(self) -> Iterator[Event]:
        """Once the recorded steps are over: keep the profile in the run folder, and yield it, once."""
        yield from self._warnings
        self._warnings.clear()
        profile, self._profile = self._profile, None
        if profile is None:
            return
        if self.epochs:
            steps_s = profile.step_ms / 1000 * self.trainer.steps_per_epoch
            validating, saving = (self._seconds[name] / self.epochs for name in (VALIDATING, SAVING))
            profile = replace(profile, epoch=EpochTime(steps_s, validating, saving))
        reports = replacement.final(self.trainer.run).reports
        try:
            profile.save(self.trainer.run)
        except OSError as error:
            yield Warned(f"{described(error)}: not written")
        yield Profiled(replace(profile, trace=profile.trace and reports / TRACE))

    def _start(self) -> torch.profiler.profile:
        os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else it prints its stages, and that there is no GPU
        activities = [ProfilerActivity.CPU]
        if self.trainer.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        return self._recording.enter_context(torch.profiler.profile(activities=activities))

    def _end(self, profiler: torch.profiler.profile) -> None:
        self._recording.close()
        try:
            self._read(profiler)
        except OSError as error:  # of a temporary file
            self._warnings.append(Warned(f"{described(error)}: nothing is profiled"))
        self._profiler = None

    def _wait(self) -> None:
        """Wait for a GPU, so that its work of the recorded steps is done within them, and no other."""
        if self.trainer.device.type == "cuda":
            with phase(LOSSES):
                torch.cuda.synchronize(self.trainer.device)

    def _read(self, profiler: torch.profiler.profile) -> None:
        """Make the profile from what was recorded, and write the trace."""
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "trace.json"
            profiler.export_chrome_trace(str(plain))
            trace = json.loads(plain.read_bytes())
        for private in ("host_name", "traceName"):  # run folders are given to others
            trace.pop(private, None)
        steps, step_ms, phases = of_trace(trace["traceEvents"])
        trainer = self.trainer
        last = trainer.state.step
        per_step = len(trainer.train_split) / trainer.steps_per_epoch
        path: Path | None = trainer.run.reports / TRACE
        try:
            atomic_write(trainer.run.reports / TRACE, gzip.compress(json.dumps(trace).encode(), 6))
        except OSError as error:
            self._warnings.append(Warned(f"{described(error)}: not written"))
            path = None
        self._profile = TrainingProfile(
            last - steps + 1, last, device_name(trainer.device), step_ms, 1000 * per_step / step_ms, phases, trace=path
        )

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        """A phase that is done once per epoch, with a clock."""
        begun = time.perf_counter()
        with phase(name):
            yield
        self._seconds[name] += time.perf_counter() - begun
