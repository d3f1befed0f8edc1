"""What trained runs are worth: their metrics on a split (`evaluate`) and what they learned (`analyze`).

The verbs load on first use: training and prediction need some modules of this package, but not SciPy's clustering.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from randhead.evaluation.analysis import Analysis, analyze
    from randhead.evaluation.evaluation import Evaluation, evaluate

__all__ = ["Analysis", "Evaluation", "analyze", "evaluate"]

_HOMES = {"Analysis": "analysis", "Evaluation": "evaluation", "analyze": "analysis", "evaluate": "evaluation"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
