"""The runs of a study, as a function of its design and, for arms that are tuned, of what was chosen."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from randhead.config import Config, configure, parse, settings
from randhead.errors import UsageError
from randhead.study import arms
from randhead.study.design import Study

Choice = Mapping[str, Any]  # the tuned settings of an arm


@dataclass(frozen=True)
class PlannedRun:
    """A run of a study.

    Attributes:
        name: of its run folder: arm, seeds, and a digest of everything that determines the result.
        arm: name of the arm.
        head_seed: seed of the class vectors.
        seed: seed of everything else.
        tuned: the settings that were tuned, with the values of this run.
        tuning: whether the run is one of the sweep, which is not reported.
        config: all settings.
    """

    name: str
    arm: str
    head_seed: int
    seed: int
    tuned: Mapping[str, Any]
    tuning: bool
    config: Config

    @property
    def label(self) -> str:
        """Arm and seeds: the name of a reported run that is known before anything is tuned."""
        return f"{self.arm}-{_seeds(self.head_seed, self.seed)}"


def check(study: Study) -> None:
    """Check the settings of every arm with every value that is tuned, before anything is trained.

    Raises:
        UsageError: for settings that do not go together, an unknown member of a family, an arm whose name says what
            it is not, and two arms that are the same trainings under two names.
        DataError: for a folder of images that does not exist.
    """
    same: dict[str, str] = {}
    for arm in study.arms:
        config = None
        for tuned in grid(study):
            try:
                config = configure({**study.settings_of(arm.name), **tuned})
            except UsageError as error:
                raise type(error)(f"arm {arm.name}: {error.message}", hint=error.hint) from None
            _check_name(arm.name, config)
        other = same.setdefault(parse.digest(config), arm.name) if config else arm.name
        if other != arm.name:
            hint = "name those to compare, `arms='A,B'`, or give one of them a setting of its own"
            raise UsageError(f"arms {other} and {arm.name} have the same settings", hint=hint)


def _check_name(arm: str, config: Config) -> None:
    """Refuse "cosine-learned" for runs with another head: every table would say what they are not."""
    found = parse.flatten(config)
    for key, value in arms.said(arm).items():
        if found[key] != value:
            shown = settings()[key].shown
            raise UsageError(
                f"arm {arm} has {key}={shown(found[key])}, and its name says {shown(value)}",
                hint=f"add {key}={shown(value)} to its settings, or give it another name",
            )


def grid(study: Study) -> list[dict[str, Any]]:
    """All combinations of the values that are tuned; one empty combination if nothing is.

    Example:
        >>> grid(Study("a", tune={"optim.lr": (0.1, 0.2), "head.bias": (None,)}))
        [{'optim.lr': 0.1, 'head.bias': None}, {'optim.lr': 0.2, 'head.bias': None}]
    """
    keys = list(study.tune)
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*study.tune.values())]


def tuning_runs(study: Study) -> Iterator[PlannedRun]:
    """The runs of the sweep: every arm with every combination and every tuning seed."""
    if study.tune:
        for arm in study.arms:
            for tuned in grid(study):
                for seed in study.tune_seeds:
                    yield _run(study, arm.name, seed, seed, tuned, tuning=True)


def reported_runs(study: Study, choices: Mapping[str, Choice]) -> Iterator[PlannedRun]:
    """The reported runs, seed by seed, so that a study that is cut short has all arms of its first seeds.

    Args:
        study: the design.
        choices: the tuned settings of each arm; arms without one are left out if anything is tuned.
    """
    for head_seed, seed in study.pairs_of_seeds:
        for arm in study.arms:
            if not study.tune or arm.name in choices:
                yield _run(study, arm.name, head_seed, seed, choices.get(arm.name, {}), tuning=False)


def names(study: Study) -> list[str]:
    """A name for every run, known before anything is tuned: of the sweep its names, of reported runs their labels.

    Example:
        >>> names(Study("a", seeds=(0, 1)))[:5]
        ['dot-fixed-seed0', 'dot-learned-seed0', 'cosine-fixed-seed0', 'cosine-learned-seed0', 'dot-fixed-seed1']
    """
    return [*(run.name for run in tuning_runs(study)), *labels(study)]


def labels(study: Study) -> dict[str, str]:
    """The arm of every reported run by its label."""
    return {f"{arm.name}-{_seeds(*pair)}": arm.name for pair in study.pairs_of_seeds for arm in study.arms}


def _seeds(head_seed: int, seed: int) -> str:
    """Seeds as a part of a name."""
    return f"seed{seed}" if head_seed == seed else f"head{head_seed}-seed{seed}"


def _run(study: Study, arm: str, head_seed: int, seed: int, tuned: Mapping[str, Any], *, tuning: bool) -> PlannedRun:
    config = configure({**study.settings_of(arm), **tuned, "train.seed": seed, "train.head_seed": head_seed})
    name = f"{'tune-' if tuning else ''}{arm}-{_seeds(head_seed, seed)}-{parse.digest(config)}"
    return PlannedRun(name, arm, head_seed, seed, dict(tuned), tuning, config)
