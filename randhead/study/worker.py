"""A worker of a study: it claims unfinished runs one by one, trains and measures them, until none is left.

Any number of workers can share a folder, also on several machines.  A run is claimed by a lock that the operating
system releases if its worker dies; the next worker resumes the training from its checkpoint, which gives the same bits.
"""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from randhead import ambient, train
from randhead.arguments import check_functions
from randhead.config import Config
from randhead.device import resolve_device
from randhead.errors import DataError, DivergedError, RandheadError, RunError, StopRequested, UsageError, unknown
from randhead.files import described, way_out, write_json
from randhead.runs import Run
from randhead.study import folder as folders
from randhead.study import locks, plan, records
from randhead.study.design import Study
from randhead.study.events import OF_ARM, RunDone, RunStarted
from randhead.study.folder import StudyFolder
from randhead.study.images import ImageCache
from randhead.study.jobs import parent_is_gone
from randhead.study.measure import measure
from randhead.study.plan import PlannedRun
from randhead.study.records import RunRecord
from randhead.study.time_limit import TimeLimit
from randhead.study.tuning import KnownRuns

POLL_S = 1.0  # between two looks at the runs of other workers
MOST_FAILURES = 2  # runs in a row after which a worker gives up: the cause is then not in one run
# The runs of a study are many and short: a checkpoint after each epoch took a third of their time on a GPU.
CHECKPOINTS: dict[str, Any] = {"keep_checkpoints": 1, "checkpoint_epochs": 100_000, "checkpoint_minutes": 1.0}
AGAIN = "the same command tries it again, and repeats nothing that is finished"
TRAIN_AGAIN = ("`fresh=True`", "`randhead train`")  # in hints of trainings: a study has no such option
OF_ALL = (UsageError, DataError)  # errors that other seeds of an arm have too, so that a worker stops at once
OF_ONE = (RunError, OSError, MemoryError, RuntimeError)  # the last of torch, if a device has no memory left


def work(
    folder: StudyFolder,
    study: Study,
    *,
    device: str = "auto",
    only: str | None = None,
    minutes: float | None = None,
    wait: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
    warn: Callable[[str], None] = warnings.warn,
    on_event: Callable[[Any], None] = lambda event: None,
) -> None:
    """Train and measure the unfinished runs of a study, beside any number of other workers.

    Args:
        folder: the folder of the study.
        study: its design.
        device: "auto", "cpu" or "cuda"; "auto" is the device of the design.
        only: the name of the only run to do, or its label; of a tuned arm, its sweep is done before.
        minutes: after this time the worker saves what it is doing, and ends; it starts no run for which the time would
            probably not be enough.
        wait: whether to wait for runs of other workers, and to take over those of workers that die.
        should_stop: called between batches; if it returns True, the training is saved and the worker ends.
        warn: called with each warning, once.
        on_event: called with `RunStarted`, `RunDone`, and the events of each training.

    Raises:
        UsageError: for settings that cannot be used, and an unknown run.
        DataError: if images are missing or cannot be used.
        RunError: if runs could not be finished, after all others are; and if the folder cannot be used.
        StopRequested: if `should_stop` returned True; the same call resumes.
    """
    check_functions(should_stop=should_stop, warn=warn, on_event=on_event)
    resolve_device(device)
    if why := locks.local_only(folder.path):
        warn(why)
    with ambient.threads(study.threads):
        _Worker(folder, study, device, TimeLimit(minutes), should_stop, warn, on_event).work(only, wait=wait)


class _Worker:
    """A worker: what it has to do, and what it knows of finished and failed runs."""

    def __init__(
        self,
        folder: StudyFolder,
        study: Study,
        device: str,
        limit: TimeLimit,
        should_stop: Callable[[], bool],
        warn: Callable[[str], None],
        on_event: Callable[[Any], None],
    ):
        self.folder, self.study, self.device, self.limit = folder, study, device, limit
        self.caller_stops, self.on_event = lambda: should_stop() or parent_is_gone(), on_event
        self._warn, self._warned = warn, set[str]()
        self.images = ImageCache()
        self.finished: dict[str, RunRecord] = {}
        self.failed: dict[str, RandheadError] = {}
        self.failures = 0  # in a row
        self.runs, self.total = KnownRuns(study), study.number_of_runs
        self.design = self._design()

    def work(self, only: str | None, *, wait: bool) -> None:
        """Do runs until none is left that can be done."""
        while todo := self._todo(only):
            if self.caller_stops():
                raise StopRequested("stopped between two runs", hint="the same call resumes the study")
            if not self.limit.allows():
                break
            if self._do_one([run for run in todo if run.name not in self.failed]):
                continue
            if not wait or all(run.name in self.failed for run in todo):
                break
            time.sleep(POLL_S)
        if self.failed:
            raise self._failure()

    def _todo(self, only: str | None) -> list[PlannedRun]:
        """The runs that are not finished, in the order in which they are done: the sweep first."""
        sweep = [record for run in self.runs.sweep if (record := self._record(run))]
        runs = [*self.runs.sweep, *self.runs.reported(sweep)]
        todo = [run for run in runs if self._record(run) is None]
        return todo if only is None else self._todo_of(only, runs, todo)

    def _todo_of(self, only: str, runs: Sequence[PlannedRun], todo: Sequence[PlannedRun]) -> list[PlannedRun]:
        """The run with a name or a label, if it is not finished; before it, the sweep that chooses its settings."""
        arm = plan.labels(self.study).get(only)
        if arm is None and only not in [run.name for run in runs]:
            raise unknown("run of this study", only, plan.names(self.study))
        sweep = [run for run in todo if run.tuning and run.arm == arm]
        return sweep or [run for run in todo if only in (run.name, None if run.tuning else run.label)]

    def _record(self, run: PlannedRun) -> RunRecord | None:
        """The record of a run, which is read only until it is there."""
        if run.name not in self.finished and (found := folders.record(self.folder, self.study, run)):
            self.finished[run.name] = found
        return self.finished.get(run.name)

    def _do_one(self, todo: list[PlannedRun]) -> bool:
        """Do the first run that no other worker has.  Returns whether there was one, or another worker finished one."""
        for run in todo:
            with locks.claim(self.folder.lock(run)) as is_ours:
                if not is_ours:
                    continue
                _look_again(self.folder.run(run))
                if self._record(run):  # another worker finished it a moment ago
                    return True
                self._check_design()
                with self._set_aside(run), self.limit.run():
                    self._do(run)
                    self.failures = 0
                return True
        return False

    def _do(self, run: PlannedRun) -> None:
        self.on_event(RunStarted(run, len(self.finished), self.total))
        where, warn = self.folder.run(run), partial(self.warn, arm=run.arm)
        config = self._config(run)
        is_new = where.summary() is None and not where.diverged_path.exists()
        if is_new:
            try:
                train.fit(
                    config,
                    root=self.folder.runs,
                    name=run.name,
                    dataset=self.images.dataset(config, where),
                    on_event=self.on_event,
                    should_stop=self._should_stop,
                    warn=warn,
                )
            except DivergedError as error:
                if not where.diverged_path.exists():
                    write_json(where.diverged_path, {"message": error.message})
        record = measure(
            run,
            where,
            self.study,
            self.images,
            config=config,
            is_new=is_new,
            should_stop=self._should_stop,
            warn=warn,
        )
        write_json(where.reports / records.FILE, record.to_json())
        self.finished[run.name] = record
        self.on_event(RunDone(record, len(self.finished), self.total))

    def _config(self, run: PlannedRun) -> Config:
        """The settings of a run with those of this machine."""
        chosen = self.study.settings_of(run.arm)
        usual: dict[str, Any] = {name: value for name, value in CHECKPOINTS.items() if f"machine.{name}" not in chosen}
        if self.device != "auto":
            usual["device"] = self.device
        return replace(run.config, machine=replace(run.config.machine, **usual))

    @contextlib.contextmanager
    def _set_aside(self, run: PlannedRun) -> Iterator[None]:
        """A context in which a run is done: an error of this run only leaves the others to be done."""
        try:
            yield
        except StopRequested:
            if self.caller_stops():
                raise
            # else the time is over, which `work` sees
        except OF_ALL as error:
            raise type(error)(f"{run.name}: {error.message}", hint=_hint(self.folder.run(run), error)) from error
        except OF_ONE as error:
            self.failed[run.name], self.failures = _of_run(self.folder.run(run), error), self.failures + 1
            if self.failures >= MOST_FAILURES:
                raise self._failure() from error
            self.warn(f"{self.failed[run.name].message}; the other runs go on")

    def _failure(self) -> RandheadError:
        """The error of the first run that failed, with the number of others."""
        first, more = next(iter(self.failed.values())), len(self.failed) - 1
        others = f"; {more} more failed: {', '.join(list(self.failed)[1:4])}" if more else ""
        found = RunError(f"{first.message}{others}", hint=first.hint)
        found.__cause__ = first.__cause__
        return found

    def _should_stop(self) -> bool:
        return self.caller_stops() or self.limit.is_over()

    def warn(self, text: str, arm: str = "") -> None:
        """Pass a warning on, with the arm that is the first to have it, unless another run had the same."""
        if text not in self._warned:
            self._warned.add(text)
            self._warn(f"{OF_ARM}{arm}: {text}" if arm else text)

    def _design(self) -> bytes | None:
        path = self.folder.design_path
        return path.read_bytes() if path.exists() else None

    def _check_design(self) -> None:
        """Raise RunError if another design has replaced that of this worker."""
        if self._design() != self.design:
            message = f"{self.folder.path} has another design than when this worker started"
            raise RunError(message, hint="start the worker again")


def _of_run(run: Run, error: Exception) -> RandheadError:
    """The error of one run."""
    if isinstance(error, RandheadError):
        what, hint = error.message, _hint(run, error)
    elif isinstance(error, OSError):
        what, hint = described(error), f"{way_out(error)}; {AGAIN}"
    else:
        what, hint = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}", AGAIN
    found = RunError(f"{run.name}: {what}", hint=hint)
    found.__cause__ = error
    return found


def _hint(run: Run, error: RandheadError) -> str | None:
    """What to do about an error; if it is to train this run again, how a study does that."""
    hint = error.hint or ""
    return f"delete {run.path}, or move it away; {AGAIN}" if any(word in hint for word in TRAIN_AGAIN) else error.hint


def _look_again(run: Run) -> None:
    """List the folders of a run: on NFS, what has come in the last seconds is missing until its folder is opened."""
    for path in (run.path.parent, run.path, run.reports):
        with contextlib.suppress(OSError):
            list(path.iterdir())
