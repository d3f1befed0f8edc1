"""Evaluation of trained runs: metrics (`evaluate`), analyses of what they learned (`analyze`), and `predict`.

These functions are imported on first use: training and prediction need some modules of this package, but not SciPy's
clustering.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from randhead.evaluation.analysis import Analysis, analyze
    from randhead.evaluation.evaluation import Evaluation, evaluate
    from randhead.evaluation.explanation import Explanation, explain
    from randhead.evaluation.prediction import Predictions, predict

__all__ = ["Analysis", "Evaluation", "Explanation", "Predictions", "analyze", "evaluate", "explain", "predict"]

_MODULES = {
    "Analysis": "analysis",
    "Evaluation": "evaluation",
    "Explanation": "explanation",
    "Predictions": "prediction",
    "analyze": "analysis",
    "evaluate": "evaluation",
    "explain": "explanation",
    "predict": "prediction",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
