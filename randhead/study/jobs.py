"""Several workers on this machine: processes of the command line, which end with the process that started them."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from randhead.errors import DataError, RandheadError, RunError, StopRequested, UsageError
from randhead.study import folder as folders
from randhead.study import python_files
from randhead.study.design import Study
from randhead.study.events import RunDone, RunStarted
from randhead.study.folder import StudyFolder
from randhead.study.plan import PlannedRun
from randhead.study.records import RunRecord
from randhead.study.tuning import KnownRuns

PARENT = "RANDHEAD_STUDY_PARENT"  # the process that started a worker
POLL_S = 0.5
PATIENCE_S = 60  # for a worker that is asked to save and end
ERRORS: dict[int, type[RandheadError]] = {kind.exit_code: kind for kind in (UsageError, DataError, RunError)}
LINE = re.compile(r"(warning|error): (.*)")


def parent_is_gone() -> bool:
    """Whether this process is a worker whose parent has ended, even by SIGKILL; the system gives it another one."""
    parent = os.environ.get(PARENT, "")
    return os.name == "posix" and parent.isdecimal() and os.getppid() != int(parent)


def work_in_processes(
    folder: StudyFolder,
    study: Study,
    jobs: int,
    *,
    device: str = "auto",
    minutes: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    warn: Callable[[str], None],
    on_event: Callable[[Any], None] = lambda event: None,
) -> None:
    """Start workers, and wait until all have ended.

    Args:
        folder: the folder of the study.
        study: its design.
        jobs: number of workers.
        device: as in `worker.work`.
        minutes: as in `worker.work`.
        should_stop: polled; if it returns True, the workers save and end.
        warn: called with each warning of a worker, once.
        on_event: called with `RunStarted` and `RunDone`.

    Raises:
        RandheadError: the first error of a worker, if runs are left that no other worker has finished.
        StopRequested: if `should_stop` returned True.
    """
    command = [sys.executable, "-m", "randhead", "study", str(folder.path), "--worker", *python_files.words(study)]
    command += ["--device", device] if device != "auto" else []
    command += ["--minutes", f"{minutes:g}"] if minutes is not None else []
    progress = _Progress(folder, study, on_event)
    workers: list[_Process] = []
    with tempfile.TemporaryDirectory(prefix="randhead-study-") as logs:
        try:
            for number in range(min(jobs, progress.left)):
                workers.append(_Process.start(command, Path(logs) / f"worker{number}", study.threads))
            is_stopped = _watch(workers, progress, should_stop, warn)
        finally:
            for worker in workers:
                worker.end()
    if is_stopped:
        raise StopRequested("stopped", hint="the same call resumes the study")
    errors = {str(error): error for worker in workers if (error := worker.error())}
    first, *others = errors.values() or [None]
    for other in others if progress.left else errors.values():
        warn(f"a worker ended: {other}")  # the others have done its runs, or have another error
    if first and progress.left:
        raise first


def _watch(
    workers: Sequence["_Process"], progress: "_Progress", should_stop: Callable[[], bool], warn: Callable[[str], None]
) -> bool:
    """Wait until all workers have ended.  Returns whether they were asked to."""
    warned, since = set[str](), None
    while any(worker.is_alive for worker in workers):
        if since is None and should_stop():
            since = time.monotonic()
            for worker in workers:
                worker.process.terminate()
        if since is not None and time.monotonic() > since + PATIENCE_S:
            break
        progress.look()
        for text in (text for worker in workers for text in worker.warnings() if text not in warned):
            warned.add(text)
            warn(text)
        time.sleep(POLL_S)
    progress.look()
    return since is not None


@dataclass
class _Process:
    """A worker."""

    process: subprocess.Popen[bytes]
    log: Path  # what it writes to stderr; not a pipe, which it would fill if nobody reads it
    lines: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, command: Sequence[str], log: Path, threads: int) -> "_Process":
        """Start a worker in a process group of its own, since Ctrl-C in a terminal goes to all of a group."""
        numbers = {name: os.environ.get(name, str(threads)) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        environment = {**os.environ, **numbers, PARENT: str(os.getpid())}
        group: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {}
        silent = subprocess.DEVNULL
        with log.open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603  (our own command)
                command, stdin=silent, stdout=silent, stderr=stderr, env=environment, **group
            )
        return cls(process, log)

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def warnings(self) -> Iterator[str]:
        """The warnings since the last call."""
        before = len(self.lines)
        self._read()
        for line in self.lines[before:]:
            if (found := LINE.fullmatch(line)) and found[1] == "warning":
                yield found[2]

    def error(self) -> RandheadError | None:
        """The error of a worker that has ended; None if it has done its work, or was asked to stop."""
        code = self.process.returncode
        if code in (0, 128 + signal.SIGTERM, -signal.SIGTERM):
            return None
        for i, line in enumerate(self.lines):
            if (found := LINE.fullmatch(line)) and found[1] == "error":
                hint = self.lines[i + 1].strip() if self.lines[i + 1 : i + 2] and self.lines[i + 1][:1] == " " else None
                return ERRORS.get(code, RunError)(found[2], hint=hint)
        why = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        hint = "the same command goes on; with fewer `jobs` it needs less memory"
        return RunError(f"a worker {why}", hint=hint)

    def end(self) -> None:
        """End a worker at once, if it has not ended: its run is resumed from the checkpoint."""
        if self.is_alive:
            self.process.kill()
        self.process.wait()
        self._read()

    def _read(self) -> None:
        """Read the lines that are complete."""
        *self.lines, rest = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        if rest and not self.is_alive:
            self.lines.append(rest)


class _Progress:
    """The runs of a study as seen in its folder, reported as events."""

    def __init__(self, folder: StudyFolder, study: Study, on_event: Callable[[Any], None]):
        self.folder, self.study, self.on_event = folder, study, on_event
        self.runs, self.total = KnownRuns(study), study.number_of_runs
        self.finished: dict[str, RunRecord] = {}
        self.begun: set[str] = set()
        self._look(lambda event: None)  # what is finished already is no event

    @property
    def left(self) -> int:
        """The number of runs that are not finished."""
        return self.total - len(self.finished)

    def look(self) -> None:
        """Report the runs that have begun and those that are finished since the last call."""
        self._look(self.on_event)

    def _look(self, on_event: Callable[[Any], None]) -> None:
        self._look_at(self.runs.sweep, on_event)
        self._look_at(self.runs.reported(self.finished.values()), on_event)

    def _look_at(self, runs: Iterable[PlannedRun], on_event: Callable[[Any], None]) -> None:
        for run in runs:
            if run.name in self.finished:
                continue
            if run.name not in self.begun and self.folder.run(run).config_path.exists():
                self.begun.add(run.name)
                on_event(RunStarted(run, len(self.finished), self.total))
            if found := folders.record(self.folder, self.study, run):
                self.finished[run.name] = found
                on_event(RunDone(found, len(self.finished), self.total))
