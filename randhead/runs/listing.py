"""Listing the runs of a folder with their state and accuracies, without importing torch."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from randhead.arguments import check_functions
from randhead.errors import RunError
from randhead.intervals import Interval, of_accuracy
from randhead.runs.finding import all_runs
from randhead.runs.folder import ROOT, Run, last, root_of
from randhead.runs.lock import is_locked
from randhead.runs.steps import saved_steps
from randhead.tables import Result, Table, percent


@dataclass(frozen=True)
class ListedRun:
    """One run: its state in words, and its accuracies in [0, 1] with their 95 percent intervals if it is finished."""

    name: str
    state: str
    test_accuracy: float | None
    val_accuracy: float | None
    test_interval: Interval | None = None
    val_interval: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        """The document."""
        found = {"test": (self.test_accuracy, self.test_interval), "val": (self.val_accuracy, self.val_interval)}
        accuracies = {
            name: {"accuracy": share, "accuracy_interval": interval and interval.to_json()}
            for name, (share, interval) in found.items()
        }
        return {"run": self.name, "state": self.state, **accuracies}


@dataclass(frozen=True)
class RunList(Result):
    """The runs of a folder; `last` is the name of the latest."""

    runs: tuple[ListedRun, ...]
    last: str | None

    def to_json(self) -> dict[str, Any]:
        """The document of `randhead list --json`."""
        return {"runs": [run.to_json() for run in self.runs], "last": self.last}

    def tables(self) -> Iterator[Table]:
        """One row per run; a star marks the latest.  The name of a default run and 100 % fit into 80 columns."""
        if self.runs:
            columns, rows = ("", "run", "state", "test", "val"), tuple(self._row(run) for run in self.runs)
            yield Table("", columns, rows, self._notes())

    def _notes(self) -> tuple[str, ...]:
        """What the columns are, and how well the accuracies are known: intervals would not fit into 80 columns."""
        known = [run.test_interval.reach(run.test_accuracy or 0.0) for run in self.runs if run.test_interval]
        if not known:
            return ()
        return (
            "accuracies in percent",
            f"95 % intervals of the test accuracies: at most ±{100 * max(known):.2f} points",
        )

    def _row(self, run: ListedRun) -> tuple[str, ...]:
        shares = [percent(share).removesuffix(" %") for share in (run.test_accuracy, run.val_accuracy)]
        state = run.state.replace("after step", "at")
        return "*" if run.name == self.last else "", run.name, state, *shares


def list_runs(root: str | Path = ROOT, *, warn: Callable[[str], None] = warnings.warn) -> RunList:
    """List the runs of a folder; runs that cannot be read are left out with a warning.

    Args:
        root: folder of the runs.
        warn: called with each warning.

    Returns:
        The `RunList`, which a notebook shows as a table.
    """
    root = root_of(root)
    check_functions(warn=warn)
    found = []
    for run in all_runs(root):
        try:
            found.append(_listed(run))
        except RunError as error:
            warn(error.message)
    return RunList(tuple(found), last(root))


def _listed(run: Run) -> ListedRun:
    """The state and the accuracies of a run.  Raises RunError if its summary cannot be read."""
    if summary := run.summary():
        accuracies = [found["accuracy"] for found in (summary.test, summary.val)]
        intervals = [of_accuracy(found["accuracy"], found.get("n")) for found in (summary.test, summary.val)]
        return ListedRun(run.name, "finished", *accuracies, *intervals)
    return ListedRun(run.name, _unfinished(run), None, None)


def _unfinished(run: Run) -> str:
    """The state of a run without a result."""
    if is_locked(run):
        return "running"
    if run.diverged_path.exists():
        return "diverged"
    saved = saved_steps(run.checkpoints)
    return f"stopped after step {saved[-1]}" if saved else "not begun"
