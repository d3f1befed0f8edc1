"""Comparison of runs: differences between arms, paired by seed, with 95 percent intervals.

An arm consists of the runs that share every setting except `train.seed` and `train.head_seed`; two runs of different
arms are a pair if both seeds are equal.  Intervals are Student's t over runs, or over pairs, which cancels the effect
that a seed has on both arms.  One run, or one pair, gives a value without an interval.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from scipy import stats

from randhead.config import Config, parse

SEEDS = ("train.seed", "train.head_seed")
CONFIDENCE = 0.95
SHOWN = 3  # settings in a label
P_VALUE = "_p"

Metrics = Mapping[str, float | int | str | None]


@dataclass(frozen=True)
class Arm:
    """Runs that differ in seeds only: a label of the settings that distinguish them, and their indices."""

    label: str
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Estimate:
    """The mean of n values and its 95 percent interval, None for a single value."""

    value: float
    interval: tuple[float, float] | None
    n: int

    def to_json(self, kind: str) -> dict[str, Any]:
        """The document; `kind` is the key of the value."""
        return {kind: self.value, "interval": self.interval and list(self.interval), "n": self.n}


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
    """The metrics of an arm minus those of the first arm, each as the mean over pairs of runs with equal seeds."""

    arm: Arm
    minus: Arm
    pairs: int
    metrics: dict[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        """The document."""
        figures = {name: estimate.to_json("difference") for name, estimate in self.metrics.items()}
        return {"arm": self.arm.label, "minus": self.minus.label, "pairs": self.pairs, "figures": figures}


@dataclass(frozen=True)
class Comparison:
    """Means of every arm, differences from the first arm, and notes about missing pairs."""

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
    varying = [key for key in kinds[0] if any(kind[key] != kinds[0][key] for kind in kinds)]
    members = [tuple(i for i, identity in enumerate(identities) if identity == kind) for kind in kinds]
    return [Arm(_label(kind, varying), indices) for kind, indices in zip(kinds, members, strict=True)]


def compare(configs: list[Config], metrics: list[Metrics]) -> Comparison:
    """Means of each arm and differences from the first.

    Args:
        configs: the configuration of each run.
        metrics: the metrics of each run, by name.  Words, undefined values and p-values (NAME_p) are left out because
            they cannot be averaged.
    """
    numbers = [{name: value for name, value in found.items() if not name.endswith(P_VALUE)} for found in metrics]
    groups = arms(configs)
    keys = [(config.train.seed, config.train.head_seed) for config in configs]
    differences, notes = [], []
    for arm in groups[1:]:
        pairs = _pairs(groups[0], arm, keys)
        differences.append(Difference(arm, groups[0], len(pairs), _differences(pairs, numbers)))
        if len(pairs) < 2:
            many = "one pair of runs shares its seeds: no interval" if pairs else "no two runs share their seeds"
            notes.append(f"{arm.label} and {groups[0].label}: {many}")
    means = tuple(ArmMeans(arm, _means(arm, numbers)) for arm in groups)
    return Comparison(means, tuple(differences), tuple(notes))


def estimate(values: list[float]) -> Estimate:
    """The mean of some values with its 95 percent interval by Student's t.

    Example:
        >>> estimate([1.0, 2.0, 3.0])
        Estimate(value=2.0, interval=(-0.48..., 4.48...), n=3)
    """
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return Estimate(mean, None, n)
    # Not stats.t.interval: it returns NaN for equal values, whose interval is a point.
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return Estimate(mean, (mean - half, mean + half), n)


def _means(arm: Arm, metrics: list[dict[str, float | int | str | None]]) -> dict[str, Estimate]:
    """The metrics that are numbers in all runs of an arm."""
    columns = {name: [metrics[i].get(name) for i in arm.indices] for name in metrics[arm.indices[0]]}
    numbers = {name: [value for value in column if _is_number(value)] for name, column in columns.items()}
    return {name: estimate(found) for name, found in numbers.items() if len(found) == len(arm.indices)}


def _differences(
    pairs: list[tuple[int, int]], metrics: list[dict[str, float | int | str | None]]
) -> dict[str, Estimate]:
    """The metrics that are numbers in both runs of at least one pair."""
    out = {}
    for name in metrics[pairs[0][0]] if pairs else ():
        both = [(metrics[i].get(name), metrics[j].get(name)) for i, j in pairs]
        values = [float(other - first) for first, other in both if _is_number(first) and _is_number(other)]
        if values:
            out[name] = estimate(values)
    return out


def _pairs(first: Arm, second: Arm, keys: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Indices of runs with equal seeds; of several runs with the same seeds, the first counts."""
    others = {keys[j]: j for j in reversed(second.indices)}
    firsts = {keys[i]: i for i in reversed(first.indices)}
    return [(i, others[key]) for key, i in sorted(firsts.items()) if key in others]


def _identity(config: Config) -> dict[str, Any]:
    flat = parse.flatten(config)
    return {key: value for key, value in flat.items() if key not in SEEDS and not key.startswith("machine.")}


def _label(kind: dict[str, Any], varying: list[str]) -> str:
    """The settings that distinguish an arm: "trainable=true, scoring=cosine"."""
    settings = [f"{key.rpartition('.')[2]}={_word(kind[key])}" for key in varying[:SHOWN]]
    return ", ".join(settings) + (", ..." if len(varying) > SHOWN else "") or "all runs"


def _word(value: Any) -> str:
    return "auto" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _is_number(value: float | int | str | None) -> TypeGuard[float | int]:
    return isinstance(value, int | float) and math.isfinite(value)
