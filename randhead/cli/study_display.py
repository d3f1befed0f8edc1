"""The live display of a study on stderr: one line per finished run, and a bar of all runs with the time left."""

import re
import time
from collections.abc import Callable
from math import ceil
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from randhead.cli.output import Output, is_live, short_path
from randhead.escapes import printable
from randhead.study.design import Study
from randhead.study.events import OF_ARM, RunDone, RunStarted
from randhead.study.folder import StudyFolder
from randhead.study.plan import PlannedRun
from randhead.study.records import RunRecord
from randhead.tables import count, percent
from randhead.train.events import EpochDone

NUMBERS = re.compile(r"\d+(\.\d+)?")
MINUTE, HOUR = 60, 3600  # in seconds


class StudyDisplay:
    """A context that shows the events of a study.

    Args:
        output: where to show them.
        jobs: number of trainings at the same time.
        clock: the time in seconds.
    """

    def __init__(self, output: Output, jobs: int = 1, clock: Callable[[], float] = time.monotonic):
        self.output, self.jobs, self.clock = output, jobs, clock
        self.warned = set[str]()
        self.is_begun, self.began, self.finished = False, clock(), 0
        columns = [BarColumn(), MofNCompleteColumn(), TextColumn("runs  {task.description}")]
        self.bar = Progress(*columns, console=output.log, transient=True, disable=not is_live(output.log))
        self.task = self.bar.add_task("", total=None, visible=False)
        self.left = ""  # the time left, in words

    def __enter__(self) -> "StudyDisplay":
        self.bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.bar.stop()

    def begin(self, design: Study, folder: StudyFolder) -> None:
        """Print what will be done, in one or two lines."""
        self.bar.update(self.task, completed=0, total=design.number_of_runs, visible=True)
        arms, seeds = count(len(design.arms), "arm"), count(len(design.pairs_of_seeds), "seed")
        sweep = f" after a sweep of {count(design.number_of_tuning_runs, 'run')}" if design.tune else ""
        cores = f", each with {count(design.threads, 'thread')} on a CPU" if self.jobs > 1 else ""
        trainings = "one training at a time" if self.jobs == 1 else f"{self.jobs} trainings at the same time{cores}"
        self.output.note(
            f"{design.name}: {arms} ({', '.join(arm.name for arm in design.arms)}) with {seeds} each{sweep}\n"
            f"{trainings}, in {short_path(folder.path)}"
        )

    def warn(self, text: str) -> None:
        """Show a warning, unless an earlier one differs only in its numbers, as those of other seeds, or in its arm."""
        kind = NUMBERS.sub("", text.partition(": ")[2] if text.startswith(OF_ARM) else text)
        if kind not in self.warned:
            self.warned.add(kind)
            self.output.warn(text)

    def event(self, event: Any) -> None:
        """Show one event; those of a training only change the words beside the bar."""
        match event:
            case RunStarted(run, done, total):
                if not self.is_begun:  # what came before, imports for example, is not the time of a run
                    self.is_begun, self.began = True, self.clock()
                words = self._beside(_named(run))
                self.bar.update(self.task, completed=done, total=total, description=words, visible=True)
            case RunDone(record, done, total):
                self._done(record, done, total)
            case EpochDone(epoch, epochs) if self.jobs == 1:
                self.bar.update(self.task, description=self._beside(f"epoch {epoch}/{epochs}"))
            case _:
                pass

    def _beside(self, what: str) -> str:
        return printable(", ".join(part for part in (what, self.left) if part)).replace("[", r"\[")

    def _done(self, record: RunRecord, done: int, total: int) -> None:
        """Print the line of a finished run."""
        self.finished += 1
        left = total - done
        time_left = f"about {duration(self._seconds_left(left))}"
        self.left = f"{time_left} left" if left else ""
        rest = f"; {count(left, 'run')} left, {time_left}" if left else ""
        self.output.note(
            f"[{done:>{len(str(total))}}/{total}] {_named(record)}: {_result(record)}, {duration(record.seconds)}{rest}"
        )
        self.bar.update(self.task, completed=done, total=total, description=self._beside(""))

    def _seconds_left(self, runs: int) -> float:
        """The time that runs will take: as long as the finished ones, `jobs` of them at the same time."""
        rounds = ceil(self.finished / self.jobs)
        return (self.clock() - self.began) / rounds * ceil(runs / self.jobs)


def duration(seconds: float) -> str:
    """A time in words.

    Example:
        >>> duration(4.2), duration(41.7), duration(170), duration(8000)
        ('4.2 s', '42 s', '3 min', '2 h 13 min')
    """
    if seconds < MINUTE:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / MINUTE)
    return f"{minutes} min" if seconds < HOUR else f"{minutes // 60} h {minutes % 60} min"


def _named(run: PlannedRun | RunRecord) -> str:
    """A run in words: its arm and what tells it from the others of the arm."""
    if run.tuning:
        values = ", ".join(f"{key}={value}" for key, value in run.tuned.items())
        return f"tuning {run.arm}, {values}"
    heads = f" head seed {run.head_seed}" if run.head_seed != run.seed else ""
    return f"{run.arm}{heads} seed {run.seed}"


def _result(record: RunRecord) -> str:
    if record.diverged:
        return f"diverged ({record.diverged})"
    if record.tuning:
        return f"val accuracy {percent(record.val.get('accuracy'))}"
    return f"accuracy {percent(record.metrics.get('accuracy'))}"
