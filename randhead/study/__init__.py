"""Studies: arms that differ in their heads, trained with equal seeds, compared with intervals; claims get verdicts.

`run` trains and measures what a study lacks, and returns its result; `read` returns the study of a TOML file; `merge`
unites parts that were made on several machines.  Names are imported on first use: a design needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from randhead.study.arms import StudyArm
    from randhead.study.claims import Claim
    from randhead.study.design import Study
    from randhead.study.events import RunDone, RunStarted
    from randhead.study.merging import merge
    from randhead.study.reading import read
    from randhead.study.records import RunRecord
    from randhead.study.result import StudyResult
    from randhead.study.running import run

__all__ = ["Claim", "RunDone", "RunRecord", "RunStarted", "Study", "StudyArm", "StudyResult", "merge", "read", "run"]

_MODULES = {
    "Claim": "claims",
    "RunDone": "events",
    "RunRecord": "records",
    "RunStarted": "events",
    "Study": "design",
    "StudyArm": "arms",
    "StudyResult": "result",
    "merge": "merging",
    "read": "reading",
    "run": "running",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
