"""Analyses of what a run has learned: one file per analysis, each with one function, `measure`.

An analysis is a module that follows `Analysis`.  Its arguments are read from its `INPUT` by name, with the same meaning
and in the same order everywhere: features (N, D), labels (N,), num_classes, class_vectors (K, D), bias (K,),
predictions (N,), and seed as the last but for the callbacks should_stop and progress.  The analyses of this package
take tensors on any device, arrays of NumPy and lists, labels of any type of integers; `num_classes` is by default the
number of class vectors, or one more than the largest label.

Everything is computed in float64.  Means over classes give every class the same weight; classes without a sample are
left out, and a note says so.  A metric without a value, such as the spread of a single class, is None; a note says why.
Invalid input, such as NaN features or labels of other classes, raises DataError or UsageError.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Protocol

from torch import Tensor

from randhead.analyses._class_statistics import ClassStatistics, class_statistics
from randhead.tables import Metric

__all__ = [
    "INPUTS",
    "Analysis",
    "ClassStatistics",
    "Findings",
    "Metric",
    "Metrics",
    "class_statistics",
    "wrong_findings",
]

INPUTS = ("run", "training", "new classes", "runs")  # what an analysis can take its arguments from
Metrics = dict[str, float | int | str | None]


@dataclass(frozen=True)
class Findings:
    """The result of an analysis.

    Attributes:
        metrics: by name; a number, a word, or None if it is undefined, ready for JSON.
        arrays: data for pictures and long tables; entries without a value are NaN.
        notes: sentences for the reader about what was left out.
    """

    metrics: Metrics
    arrays: dict[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def number(self, name: str) -> float | None:
        """A metric as a number; None if it is a word, undefined or missing.

        Example:
            >>> Findings({"accuracy": 0.5, "verdict": "converged"}).number("accuracy")
            0.5
        """
        value = self.metrics.get(name)
        return float(value) if isinstance(value, int | float) else None


class Analysis(Protocol):
    """The interface of an analysis: a module with these names; `HEADLINES` and `METRICS` are optional.

    Attributes:
        INPUT: the source of the arguments: "run", one run on images of its own classes; "training", the log of one
            run; "new classes", one run on images of other classes; "runs", several runs at once, so that `features` is
            a list with one entry per run, and other arguments are tensors with one value per run.
        measure: takes tensors, never a config or a path, and has no state.
        HEADLINES: the metrics that a short table shows, in their order; without it, all of them.
        METRICS: by name, how a metric is shown to people; one that it lacks is shown by its name in words.
    """

    INPUT: str
    measure: Callable[..., Findings]


def wrong_value(member: ModuleType) -> str | None:
    """What is wrong with the values that an analysis from outside the package defines; None if they are right."""
    if member.INPUT not in INPUTS:
        return f"INPUT must be one of {', '.join(INPUTS)}, got {member.INPUT!r}"
    headlines = getattr(member, "HEADLINES", ())
    if not isinstance(headlines, list | tuple) or not all(isinstance(name, str) for name in headlines):
        return f"HEADLINES must be a tuple of names of metrics, got {headlines!r}"
    stated = getattr(member, "METRICS", {})
    if not isinstance(stated, dict) or not all(isinstance(about, Metric) for about in stated.values()):
        return f"METRICS must be a dictionary of randhead.analyses.Metric, got {stated!r}"
    try:
        inspect.signature(member.measure)
    except (TypeError, ValueError):
        return f"measure must be a function with named arguments, got {member.measure!r}"
    return None


def wrong_findings(found: object) -> str | None:
    """What is wrong with the result of an analysis; None if it is right."""
    if not isinstance(found, Findings):
        return f"measure must return randhead.analyses.Findings, got {type(found).__name__}"
    metrics, arrays, notes = vars(found).values()
    if not isinstance(metrics, dict) or not isinstance(arrays, dict):
        return "metrics and arrays must be dictionaries"
    for name, value in metrics.items():
        if not isinstance(name, str):
            return f"the names of metrics must be str, got {name!r}"
        if not isinstance(value, float | int | str | None):
            return f"metrics[{name!r}] must be a number, a word or None, got {type(value).__name__}"
        if isinstance(value, float) and not math.isfinite(value):
            return f"a metric without a value must be None, not NaN or infinite: metrics[{name!r}] is {value}"
    for name, array in arrays.items():
        if not isinstance(array, Tensor):
            return f"arrays[{name!r}] must be a tensor, got {type(array).__name__}"
    return None if all(isinstance(note, str) for note in notes) else "notes must be sentences"
