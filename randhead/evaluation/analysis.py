"""Analyses of trained runs: an analysis names what it needs, and gets it from its subject.

`analyze` looks the parameters of `measure` up among the properties of the subject (`randhead.evaluation.inputs`).  So a
new analysis is one file: it says what its subject is and which of its properties it takes.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from randhead import registry
from randhead.analyses import Findings
from randhead.errors import RandheadError, StopRequested, UsageError, unknown
from randhead.evaluation.inputs import NewClasses, OneRun, SeveralRuns
from randhead.evaluation.training_log import Training

ALL = "all"
SAME_ON_TRAIN = ("_floor", "_vectors")  # figures of the head alone: the training split does not change them
SUBJECTS = {"run": OneRun, "training": Training, "new classes": NewClasses}


@dataclass(frozen=True)
class Measured:
    """What an analysis found, and what it looked at: data, split, n and classes, or epochs, ready for JSON."""

    findings: Findings
    seen: dict[str, Any]


@dataclass
class Results:
    """Analyses of some runs: of each by itself, of all together, and which did not apply, with the reason."""

    members: list[OneRun]
    each: list[dict[str, Measured]]
    together: dict[str, Measured] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def chosen(name: str) -> list[str]:
    """The analyses that a name stands for: one, or all.  Raises UsageError for others, with the nearest name."""
    known = registry.names("analyses")
    if name not in (ALL, *known):
        raise unknown("analysis", name, [*known, ALL])
    return known if name == ALL else [name]


def examine(names: list[str], members: list[OneRun], *, strict: bool) -> Results:
    """Analyses of one or more runs.  Where one cannot be made, `strict` raises; otherwise its reason is kept."""
    results = Results(members, [{} for _ in members])
    for name in names:
        try:
            if registry.load("analyses", name).SUBJECT == "runs":
                results.together[name] = analyze_together(name, members)
            else:
                found = [analyze_run(name, run) for run in members]
                for place, measured in zip(results.each, found, strict=True):
                    place[name] = measured
        except StopRequested:
            raise
        except RandheadError as error:
            if strict:
                raise
            results.refused[name] = f"{error.message} ({error.hint})" if error.hint else error.message
    return results


def analyze_run(name: str, run: OneRun) -> Measured:
    """One analysis of one run, whatever subject it asks for."""
    run.library.check_stop()
    kind = SUBJECTS[registry.load("analyses", name).SUBJECT]
    subject = run if kind is OneRun else kind(run.library, run.loaded, run.view)
    return Measured(analyze(name, subject), subject.seen)


def analyze_together(name: str, members: list[OneRun]) -> Measured:
    """One analysis of several runs at once.

    A matrix with a row and a column a run is also averaged below its diagonal: over pairs that share fixed class
    vectors, as FIGURE_across_shared; whose vectors were drawn alike and learned, as FIGURE_across_start; and over the
    others, as FIGURE_across_other.
    """
    members[0].library.check_stop()
    subject = SeveralRuns(members)
    found = analyze(name, subject)
    matrices = {key: value for key, value in found.arrays.items() if value.shape == (len(members),) * 2}
    below = torch.ones(len(members), len(members)).tril(-1).bool()
    figures = {}
    for key, matrix in matrices.items():
        for kind, pairs in subject.pairs.items():
            chosen = matrix[below & pairs]
            figures[f"{key}_across_{kind}"] = float(chosen.mean()) if len(chosen) else None
    return Measured(Findings(found.figures | figures, found.arrays, found.notes), subject.seen)


def analyze(name: str, subject: Any) -> Findings:
    """One analysis of a subject.  What it compares with the training split is measured there too, as train_FIGURE."""
    measure = registry.load("analyses", name).measure
    given = arguments(measure, subject)
    found = measure(**given)
    if "train" not in given or subject.view.split == "train":
        return found
    other = measure(**arguments(measure, subject.on_train()))
    figures = {f"train_{key}": value for key, value in other.figures.items() if not key.endswith(SAME_ON_TRAIN)}
    return Findings(found.figures | figures, found.arrays, found.notes)


def arguments(measure: Callable[..., Findings], subject: Any) -> dict[str, Any]:
    """The arguments of `measure` that a subject has.  Those it lacks, or has as None, are left to their defaults."""
    given = {}
    for name, parameter in inspect.signature(measure).parameters.items():
        known = hasattr(type(subject), name) or name in vars(subject)
        value = getattr(subject, name) if known else None
        if value is not None:
            given[name] = value
        elif parameter.default is inspect.Parameter.empty:
            raise UsageError(f"{measure.__module__} asks for {name!r}, which {type(subject).__name__} does not have")
    return given
