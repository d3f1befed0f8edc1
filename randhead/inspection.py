"""Analyses of trained runs: an analysis names what it needs, and gets it from its subject.

`analyze` looks the parameters of `measure` up among the properties of the subject (`randhead.subjects`).  So a new
analysis is one file: it says what its subject is and which of its properties it takes.
"""

import inspect
from collections.abc import Callable
from typing import Any

from randhead import catalog
from randhead.analyses import Findings
from randhead.course import Training
from randhead.errors import UsageError
from randhead.subjects import NewClasses, OneRun

SAME_ON_TRAIN = ("_floor", "_vectors")  # figures of the head alone: the training split does not change them
SUBJECTS = {"run": OneRun, "training": Training, "new classes": NewClasses}


def subject_of(name: str) -> str:
    """What an analysis looks at: "run", "training", "new classes" or "runs".  Raises UsageError for unknown names."""
    return catalog.load("analyses", name).SUBJECT


def analyze(name: str, subject: Any) -> Findings:
    """One analysis of a subject.  What it compares with the training split is measured there too, as train_FIGURE."""
    measure = catalog.load("analyses", name).measure
    given = arguments(measure, subject)
    found = measure(**given)
    if "train" not in given or subject.view.split == "train":
        return found
    other = measure(**arguments(measure, subject.on_train()))
    figures = {f"train_{key}": value for key, value in other.figures.items() if not key.endswith(SAME_ON_TRAIN)}
    return Findings(found.figures | figures, found.arrays, found.notes)


def analyze_run(name: str, run: OneRun) -> Findings:
    """One analysis of one run, whatever subject it asks for."""
    kind = SUBJECTS[subject_of(name)]
    return analyze(name, run if kind is OneRun else kind(run.library, run.loaded, run.view))


def arguments(measure: Callable[..., Findings], subject: Any) -> dict[str, Any]:
    """The arguments of `measure` that a subject has.  Those it lacks, or has as None, are left to their defaults."""
    given = {}
    for name, parameter in inspect.signature(measure).parameters.items():
        required = parameter.default is inspect.Parameter.empty
        known = name == "seed" or hasattr(type(subject), name) or name in vars(subject)
        value = getattr(subject, name, None) if known else None
        if value is None and required:
            raise UsageError(f"{measure.__module__} asks for {name!r}, which {type(subject).__name__} does not have")
        if value is not None:
            given[name] = value
    return given
