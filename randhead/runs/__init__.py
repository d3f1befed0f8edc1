"""Run folders: the files that a training writes, finding runs, and loading them.

`load`, `LoadedRun` and `RunLike` need torch, so they are imported on first use; finding and listing runs does not.
"""

from typing import TYPE_CHECKING, Any

from randhead.runs.finding import all_runs, check_different, default_name, find, is_longer, open_run, slug
from randhead.runs.folder import ROOT, Run, describe, last, set_last, write_config
from randhead.runs.listing import ListedRun, RunList, list_runs
from randhead.runs.lock import locked
from randhead.runs.summary import SelectedEpoch, TrainingSummary

if TYPE_CHECKING:
    from randhead.runs.loaded import LoadedRun, RunLike, load

__all__ = [
    "ROOT",
    "ListedRun",
    "LoadedRun",
    "Run",
    "RunLike",
    "RunList",
    "SelectedEpoch",
    "TrainingSummary",
    "all_runs",
    "check_different",
    "default_name",
    "describe",
    "find",
    "is_longer",
    "last",
    "list_runs",
    "load",
    "locked",
    "open_run",
    "set_last",
    "slug",
    "write_config",
]


def __getattr__(name: str) -> Any:
    if name not in ("LoadedRun", "RunLike", "load"):
        raise AttributeError(f"module 'randhead.runs' has no attribute {name!r}")
    from randhead.runs import loaded

    return getattr(loaded, name)
