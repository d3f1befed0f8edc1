"""Comparison of runs by arm: means, and differences from a baseline that are paired by seed, with intervals.

An arm consists of the runs that share every setting except `train.seed` and `train.head_seed`; two runs of different
arms are a pair if both seeds are equal.  Intervals (`evaluation.estimates`) are over runs, or over pairs, which cancels
the effect that a seed has on both arms.  One run, or one pair, gives a value without an interval.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from randhead import registry
from randhead.config import Config, parse
from randhead.evaluation.estimates import Estimate, Seeds, estimate, seed_design
from randhead.intervals import Interval

SEEDS = ("train.seed", "train.head_seed")
TRAINABLE, GEOMETRY, SCORING = "head.trainable", "head.vectors", "head.scoring"
SHOWN = 3  # settings in a label, unless more are needed to tell arms apart
P_VALUE = "_p"

Metrics = Mapping[str, float | int | str | None]


@dataclass(frozen=True)
class Arm:
    """Runs that differ in seeds only: a label of the settings that distinguish them, and their indices."""

    label: str
    indices: tuple[int, ...]


@dataclass(frozen=True)
class ArmMeans:
    """The metrics of an arm, each as the mean over its runs."""

    arm: Arm
    metrics: dict[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        """The document."""
        figures = {name: estimate.to_json("mean") for name, estimate in self.metrics.items()}
        return {"arm": self.arm.label, "runs": list(self.arm.indices), "figures": figures}


@dataclass(frozen=True)
class Difference:
    """The metrics of an arm minus those of the baseline, each as the mean over pairs of runs with equal seeds."""

    arm: Arm
    minus: Arm
    pairs: tuple[tuple[int, int], ...]
    metrics: dict[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        """The document."""
        figures = {name: estimate.to_json("difference") for name, estimate in self.metrics.items()}
        return {"arm": self.arm.label, "minus": self.minus.label, "pairs": len(self.pairs), "figures": figures}


@dataclass(frozen=True)
class Comparison:
    """Means of every arm, the baseline first, differences from it, and notes about seeds."""

    arms: tuple[ArmMeans, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()

    @property
    def has_intervals(self) -> bool:
        """Whether any difference, or any mean if there is one arm, has an interval: a single pair has none."""
        return any(found.interval for arm in self.differences or self.arms for found in arm.metrics.values())

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {
            "arms": [arm.to_json() for arm in self.arms],
            "differences": [difference.to_json() for difference in self.differences],
            "notes": list(self.notes),
        }


def arms(configs: list[Config]) -> list[Arm]:
    """The arms among runs, in the order in which they appear."""
    identities = [_identity(config) for config in configs]
    kinds: list[dict[str, Any]] = []
    for identity in identities:
        if identity not in kinds:
            kinds.append(identity)
    members = [tuple(i for i, identity in enumerate(identities) if identity == kind) for kind in kinds]
    return [Arm(label, indices) for label, indices in zip(_labels(kinds), members, strict=True)]


def arm_labels(configs: list[Config]) -> list[str]:
    """The label of the arm of each run."""
    labels = {i: arm.label for arm in arms(configs) for i in arm.indices}
    return [labels[i] for i in range(len(configs))]


def first_of(label: str, configs: list[Config]) -> int | None:
    """The index of the first run of the arm with a label; None without such an arm."""
    return next((arm.indices[0] for arm in arms(configs) if arm.label == label), None)


def pairs(configs: list[Config], baseline: int) -> dict[int, int]:
    """The runs of other arms that have a run with equal seeds in the arm of the baseline: their indices, and its."""
    groups, keys = arms(configs), _keys(configs)
    [base] = [arm for arm in groups if baseline in arm.indices]
    return {j: i for arm in groups if arm is not base for i, j in _pairs(base, arm, keys)}


def compare(configs: list[Config], metrics: Sequence[Metrics], *, baseline: int = 0) -> Comparison:
    """Means of each arm, and differences from one of them.

    Args:
        configs: the configuration of each run.
        metrics: the metrics of each run, by name.  Words, undefined values and p-values (NAME_p) are left out because
            they cannot be averaged.
        baseline: index of a run of the arm that is subtracted from the others.
    """
    numbers = [{name: value for name, value in found.items() if not name.endswith(P_VALUE)} for found in metrics]
    groups = sorted(arms(configs), key=lambda arm: baseline not in arm.indices)
    keys = _keys(configs)
    differences = []
    notes = [(arm.label, seed_design([keys[i] for i in arm.indices]).note()) for arm in groups]
    for arm in groups[1:]:
        same_seeds = _pairs(groups[0], arm, keys)
        differences.append(Difference(arm, groups[0], tuple(same_seeds), _differences(same_seeds, numbers, keys)))
        both = f"{arm.label} and {groups[0].label}"
        only = f"no interval over seeds: only one pair of {both} runs has the same seeds"
        notes.append(("", only) if len(same_seeds) == 1 else (both, _note(same_seeds, keys)))
    means = tuple(ArmMeans(arm, _means(arm, numbers, keys)) for arm in groups)
    return Comparison(means, tuple(differences), _said(notes))


def with_images(
    found: Comparison,
    name: str,
    of_run: Callable[[int], Interval | None],
    of_pair: Callable[[int, int], Interval | None],
) -> Comparison:
    """A comparison in which a single run of an arm, or a single pair of runs, has an interval over images.

    Those over few seeds, of Student's t, are cut off at what is possible.

    Args:
        found: the comparison.
        name: of the metric, an accuracy in [0, 1].
        of_run: the interval of a run.
        of_pair: the interval of the second run minus the first.
    """

    def filled(
        metrics: dict[str, Estimate], least: float, interval: Callable[..., Interval | None], *of: int
    ) -> dict[str, Estimate]:
        one = metrics.get(name)
        if one is None:
            return metrics
        known = interval(*of) if one.n == 1 else one.interval
        return {**metrics, name: replace(one, interval=known and known.within(least, 1.0))}

    means = [replace(arm, metrics=filled(arm.metrics, 0.0, of_run, arm.arm.indices[0])) for arm in found.arms]
    differences = [
        replace(arm, metrics=filled(arm.metrics, -1.0, of_pair, *arm.pairs[0])) if arm.pairs else arm
        for arm in found.differences
    ]
    return replace(found, arms=tuple(means), differences=tuple(differences))


def _note(pairs: list[tuple[int, int]], keys: list[Seeds]) -> str | None:
    """What the reader of a difference must know."""
    return seed_design([keys[i] for i, _ in pairs]).note() if pairs else "no two runs share their seeds"


def _said(notes: list[tuple[str, str | None]]) -> tuple[str, ...]:
    """The notes with what they are about; a note about all arms and differences only once."""
    kinds = {note for _, note in notes}
    if len(kinds) == 1:
        return tuple(note for note in kinds if note)
    return tuple(f"{label}: {note}" if label else note for label, note in notes if note)


def _means(arm: Arm, metrics: list[dict[str, float | int | str | None]], keys: list[Seeds]) -> dict[str, Estimate]:
    """The metrics that are numbers in all runs of an arm."""
    seeds = [keys[i] for i in arm.indices]
    columns = {name: [metrics[i].get(name) for i in arm.indices] for name in metrics[arm.indices[0]]}
    numbers = {name: [value for value in column if _is_number(value)] for name, column in columns.items()}
    return {name: estimate(found, seeds) for name, found in numbers.items() if len(found) == len(seeds)}


def _differences(
    pairs: list[tuple[int, int]], metrics: list[dict[str, float | int | str | None]], keys: list[Seeds]
) -> dict[str, Estimate]:
    """The metrics that are numbers in both runs of at least one pair."""
    out = {}
    for name in metrics[pairs[0][0]] if pairs else ():
        both = [(keys[i], metrics[i].get(name), metrics[j].get(name)) for i, j in pairs]
        found = [(key, float(b - a)) for key, a, b in both if _is_number(a) and _is_number(b)]
        if found:
            out[name] = estimate([value for _, value in found], [key for key, _ in found])
    return out


def _pairs(first: Arm, second: Arm, keys: list[Seeds]) -> list[tuple[int, int]]:
    """Indices of runs with equal seeds; of several runs with the same seeds, the first counts."""
    others = {keys[j]: j for j in reversed(second.indices)}
    firsts = {keys[i]: i for i in reversed(first.indices)}
    return [(i, others[key]) for key, i in sorted(firsts.items()) if key in others]


def _keys(configs: list[Config]) -> list[Seeds]:
    """The seeds of each run."""
    return [(config.train.head_seed, config.train.seed) for config in configs]


def _identity(config: Config) -> dict[str, Any]:
    flat = parse.flatten(config)
    return {key: value for key, value in flat.items() if key not in SEEDS and not key.startswith("machine.")}


def _labels(kinds: list[dict[str, Any]]) -> list[str]:
    """The settings that distinguish arms, as few as tell them apart: "learned, cosine", "fixed, lr=0.05"."""
    varying = [key for key in kinds[0] if any(kind[key] != kinds[0][key] for kind in kinds)]
    main = [key for key in (TRAINABLE, GEOMETRY, SCORING) if key in varying]
    keys = [*main, *(key for key in varying if key not in main)] or [TRAINABLE]
    labels: list[str] = []
    for shown in range(min(SHOWN, len(keys)), len(keys) + 1):
        more = ", ..." if shown < len(keys) else ""
        labels = [", ".join(_word(key, kind[key]) for key in keys[:shown]) + more for kind in kinds]
        if len(set(labels)) == len(labels):
            break
    return labels


def _word(key: str, value: Any) -> str:
    """One setting in a label."""
    if key == TRAINABLE:
        return "learned" if value else "fixed"
    if key in (GEOMETRY, SCORING):
        return registry.label(str(value))
    shown = "auto" if value is None else str(value).lower() if isinstance(value, bool) else registry.label(str(value))
    return f"{key.rpartition('.')[2]}={shown}"


def _is_number(value: float | int | str | None) -> TypeGuard[float | int]:
    return isinstance(value, int | float) and math.isfinite(value)
