"""randhead: image classifiers whose class vectors are drawn at random and fixed.

The public names are imported on first use (PEP 562), so that `import randhead` does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; `_HOMES` has the same names at run time
    from randhead.config import Config
    from randhead.corruptions import corrupt
    from randhead.errors import (
        DataError,
        DataFileError,
        DivergedError,
        RandheadError,
        RunError,
        StopRequested,
        UsageError,
    )
    from randhead.evaluation import analyze, evaluate
    from randhead.head import ClassVectorHead, preflight
    from randhead.members import (
        register_analysis,
        register_backbone,
        register_corruption,
        register_dataset,
        register_geometry,
        register_loss,
    )
    from randhead.model import build_model
    from randhead.robustness import benchmark
    from randhead.runs import load as load_run
    from randhead.study import Study
    from randhead.study import run as run_study
    from randhead.train import fit
    from randhead.vectors import draw

__all__ = [
    "ClassVectorHead",
    "Config",
    "DataError",
    "DataFileError",
    "DivergedError",
    "RandheadError",
    "RunError",
    "StopRequested",
    "Study",
    "UsageError",
    "__version__",
    "analyze",
    "benchmark",
    "build_model",
    "corrupt",
    "draw",
    "evaluate",
    "fit",
    "load_run",
    "preflight",
    "register_analysis",
    "register_backbone",
    "register_corruption",
    "register_dataset",
    "register_geometry",
    "register_loss",
    "run_study",
]

__version__ = "0.1.0"

_HOMES = {  # name -> module, with the name in that module if it differs
    "ClassVectorHead": "randhead.head",
    "Config": "randhead.config",
    "DataError": "randhead.errors",
    "DataFileError": "randhead.errors",
    "DivergedError": "randhead.errors",
    "RandheadError": "randhead.errors",
    "RunError": "randhead.errors",
    "StopRequested": "randhead.errors",
    "Study": "randhead.study",
    "UsageError": "randhead.errors",
    "analyze": "randhead.evaluation",
    "benchmark": "randhead.robustness",
    "build_model": "randhead.model",
    "corrupt": "randhead.corruptions",
    "draw": "randhead.vectors",
    "evaluate": "randhead.evaluation",
    "fit": "randhead.train",
    "load_run": "randhead.runs:load",
    "preflight": "randhead.head",
    "register_analysis": "randhead.members",
    "register_backbone": "randhead.members",
    "register_corruption": "randhead.members",
    "register_dataset": "randhead.members",
    "register_geometry": "randhead.members",
    "register_loss": "randhead.members",
    "run_study": "randhead.study:run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'randhead' has no attribute {name!r}")
    module, _, original = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), original or name)


def __dir__() -> list[str]:
    return sorted(__all__)
