"""Running analyses: their arguments are taken by name from the properties of their inputs.

`arguments` looks up the parameters of `measure` among the properties of the input (`randhead.evaluation.inputs`).  So a
new analysis is one file: it names its input in `INPUT`, and the properties that it needs are its parameters.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType
from typing import Any, Protocol

import torch

from randhead import ambient, registry
from randhead.analyses import Findings, Metric, wrong_findings
from randhead.errors import RandheadError, StopRequested, UsageError
from randhead.evaluation.inputs import JointInputs, NewClassInputs, RunInputs, Seen
from randhead.evaluation.training_log import TrainingInputs
from randhead.tables import words

SAME_ON_TRAIN = ("_floor", "_vectors")  # endings of metrics that depend only on the head, not on the split
NO_ARGUMENTS = {"session", "loaded", "options", "members", "dataset", "extracted", "seen", "log", "name", "pairs"}
INPUTS: dict[str, Any] = {"run": RunInputs, "training": TrainingInputs, "new classes": NewClassInputs}


def module(name: str) -> ModuleType | None:
    """The file of an analysis; None for one of the user that is no longer registered, whose results are still shown."""
    return registry.load("analyses", name) if name in registry.names("analyses") else None


def metric(name: str, key: str) -> Metric:
    """How a metric of an analysis is shown: as its file states it, or by its key in words."""
    stated: dict[str, Metric] = getattr(module(name), "METRICS", {})
    if key not in stated and (plain := key.removeprefix("train_")) in stated:
        return replace(stated[plain], name=f"{stated[plain].name}, training")
    return stated.get(key) or Metric(words(key))


class Inputs(Protocol):
    """The source of the arguments of an analysis."""

    @property
    def seen(self) -> Seen:
        """What is analyzed, ready for JSON."""
        ...


@dataclass(frozen=True)
class Measurement:
    """The findings of an analysis, and what was analyzed: data, split, n and classes, or epochs, ready for JSON."""

    findings: Findings
    seen: Seen


def measure_all(
    names: list[str], members: list[RunInputs], *, strict: bool
) -> tuple[tuple[dict[str, Measurement], ...], dict[str, Measurement], dict[str, str]]:
    """Analyses of each run, of all runs together, and the reasons why others do not apply.

    Raises:
        RandheadError: with `strict`, for an analysis that does not apply.
    """
    each: tuple[dict[str, Measurement], ...] = tuple({} for _ in members)
    together: dict[str, Measurement] = {}
    refused: dict[str, str] = {}
    for name in names:
        try:
            if registry.load("analyses", name).INPUT == "runs":
                together[name] = measure_together(name, members)
            else:
                found = [measure_run(name, member) for member in members]
                for measurements, measured in zip(each, found, strict=True):
                    measurements[name] = measured
        except RandheadError as error:
            if strict or isinstance(error, StopRequested):
                raise
            reason = error.message.removeprefix(f"{name} ")  # which the table says already
            refused[name] = f"{reason} ({error.hint})" if error.hint else reason
    return each, together, refused


def measure_run(name: str, run: RunInputs) -> Measurement:
    """One analysis of one run, with the input that it needs."""
    run.session.check_stop()
    kind = INPUTS[registry.load("analyses", name).INPUT]
    inputs = run if kind is RunInputs else kind(run.session, run.loaded, run.options)
    return Measurement(measure(name, inputs), inputs.seen)


def measure_together(name: str, members: list[RunInputs]) -> Measurement:
    """One analysis of several runs at once.

    If a result is a matrix with one row and one column per run, the means of its entries below the diagonal are added:
    NAME_across_shared over pairs of runs that share fixed class vectors, NAME_across_start over pairs whose learned
    class vectors have the same start, and NAME_across_other over the other pairs.
    """
    members[0].session.check_stop()
    inputs = JointInputs(members)
    found = measure(name, inputs)
    matrices = {key: value for key, value in found.arrays.items() if value.shape == (len(members),) * 2}
    below = torch.ones(len(members), len(members), dtype=torch.bool, device="cpu").tril(-1)
    means = {}
    for key, matrix in matrices.items():
        for kind, pairs in inputs.pairs.items():
            chosen = matrix[below & pairs]
            known = len(chosen) > 0 and bool(chosen.isfinite().all())
            means[f"{key}_across_{kind}"] = float(chosen.mean()) if known else None
    return Measurement(Findings({**found.metrics, **means}, found.arrays, found.notes), inputs.seen)


def measure(name: str, inputs: Inputs) -> Findings:
    """One analysis of its input.  If it has an argument `train`, it also measures the training split, as train_NAME."""
    analysis, origin = registry.load("analyses", name).measure, registry.origin("analyses", name)
    given = arguments(analysis, inputs, origin=origin)
    found = _measured(name, analysis, given)
    if "train" not in given or not isinstance(inputs, RunInputs) or inputs.options.split == "train":
        return found
    other = _measured(name, analysis, arguments(analysis, inputs.on_train(), origin=origin))
    on_train = {f"train_{key}": value for key, value in other.metrics.items() if not key.endswith(SAME_ON_TRAIN)}
    notes = tuple(f"training split: {note}" for note in other.notes if note not in found.notes)
    return Findings(found.metrics | on_train, found.arrays, found.notes + notes)


def arguments(analysis: Callable[..., Findings], inputs: object, *, origin: str = "") -> dict[str, Any]:
    """The arguments of `measure` that an input has.  Those that it lacks, or that are None, keep their defaults.

    Args:
        analysis: the function `measure`.
        inputs: the source of the arguments.
        origin: the file of the analysis, for messages; by default its module.

    Raises:
        UsageError: if an argument without a default is missing.
    """
    given = {}
    for name, parameter in inspect.signature(analysis).parameters.items():
        known = hasattr(type(inputs), name) or name in vars(inputs)
        value = getattr(inputs, name) if known else None
        if value is not None:
            given[name] = value
        elif parameter.default is inspect.Parameter.empty:
            raise UsageError(
                f"{origin or analysis.__module__} asks for {name!r}, which {type(inputs).__name__} does not have",
                hint=f"`measure` can have the arguments {', '.join(available(inputs))}",
            )
    return given


def available(inputs: object) -> list[str]:
    """The names of the arguments that an analysis can take from an input, sorted."""
    properties = [n for n, value in vars(type(inputs)).items() if isinstance(value, property | cached_property)]
    return sorted({*properties, *vars(inputs)} - NO_ARGUMENTS)


def _measured(name: str, analysis: Callable[..., Findings], given: dict[str, Any]) -> Findings:
    """The result of an analysis, the function `measure`, checked if it comes from outside the package."""
    if registry.is_builtin("analyses", name):
        return analysis(**given)
    with ambient.ordinary(torch.device("cpu")):
        found = analysis(**given)
    registry.expect("analyses", name, wrong_findings(found))
    return found
