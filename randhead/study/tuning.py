"""Tuning: what the sweep of every arm says on the validation split.  No reported run and no test image has a part."""

from collections.abc import Iterable, Mapping, Sequence
from math import fsum, inf
from typing import Any

from randhead.study.design import Study
from randhead.study.plan import PlannedRun, grid, reported_runs, tuning_runs
from randhead.study.records import RunRecord


def choices(study: Study, sweep: Sequence[RunRecord]) -> dict[str, dict[str, Any]]:
    """The tuned settings of each arm whose sweep is complete.

    The best combination has the highest mean validation accuracy over the tuning seeds, then the lowest mean NLL, then
    the first place in the grid.  A run that diverged has no right prediction.

    Args:
        study: the design.
        sweep: records of the sweep, in any order.

    Returns:
        Settings with values, by name of the arm; nothing if the design tunes nothing.
    """
    if not study.tune:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for arm in study.arms:
        tried = [(tuned, runs_of(study, sweep, arm.name, tuned)) for tuned in grid(study)]
        if all(len(runs) == len(set(study.tune_seeds)) for _, runs in tried):
            found[arm.name] = max(tried, key=lambda pair: rank(pair[1]))[0]  # the first of equal ones
    return found


def at_the_end(study: Study, chosen: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """The arms whose choice is the smallest or the largest value tried, beyond which better ones may be, by setting.

    Args:
        study: the design.
        chosen: settings of each arm, as `choices` returns them.

    Returns:
        Names of arms, by name of the setting; only settings with numbers, of which at least two were tried.

    Example:
        >>> from randhead.study import Study
        >>> study = Study("a", tune={"optim.lr": (0.1, 0.2, 0.3)})
        >>> at_the_end(study, {"dot-fixed": {"optim.lr": 0.3}, "dot-learned": {"optim.lr": 0.2}})
        {'optim.lr': ['dot-fixed']}
    """
    found: dict[str, list[str]] = {}
    for key, values in study.tune.items():
        numbers = {value for value in values if isinstance(value, int | float) and not isinstance(value, bool)}
        if len(numbers) < 2:
            continue
        if arms := [arm for arm, own in chosen.items() if own.get(key) in (min(numbers), max(numbers))]:
            found[key] = arms
    return found


def runs_of(study: Study, sweep: Sequence[RunRecord], arm: str, tuned: Mapping[str, Any]) -> list[RunRecord]:
    """The records of one combination of an arm, one per tuning seed."""
    seeds = set(study.tune_seeds)
    return [run for run in sweep if run.arm == arm and dict(run.tuned) == dict(tuned) and run.seed in seeds]


def rank(runs: Sequence[RunRecord]) -> tuple[float, float]:
    """The key by which a combination is chosen: higher mean validation accuracy, then lower mean validation NLL."""
    accuracies = [0.0 if run.diverged else run.val.get("accuracy") or 0.0 for run in runs]
    known = [None if run.diverged else run.val.get("nll") for run in runs]
    nlls = [inf if nll is None else nll for nll in known]  # one that is not finite is None in a record
    return fsum(accuracies) / len(runs), -fsum(nlls) / len(runs)


class KnownRuns:
    """The runs of a study that are known, each made once: the sweep, and those whose settings it has chosen.

    Args:
        study: the design.
    """

    def __init__(self, study: Study):
        self.study, self.sweep = study, list(tuning_runs(study))
        self._choices: dict[str, dict[str, Any]] | None = None
        self._reported: list[PlannedRun] = []

    def reported(self, finished: Iterable[RunRecord]) -> list[PlannedRun]:
        """The reported runs that are known.

        Args:
            finished: records of the runs that are finished, those of the sweep among them.
        """
        chosen = choices(self.study, [record for record in finished if record.tuning])
        if chosen != self._choices:  # to make a run takes a millisecond, and workers look every second
            self._choices, self._reported = chosen, list(reported_runs(self.study, chosen))
        return self._reported
