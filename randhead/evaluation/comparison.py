"""Runs side by side: differences between arms, paired by seed, with 95 percent intervals.

An arm is the runs that share every setting but `train.seed` and `train.head_seed`; two runs of two arms are a pair
where both seeds agree.  Intervals are Student's t over runs, or over pairs, which takes out what a seed does to both
arms alike.  One run, or one pair, gives a figure without an interval.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from randhead.config import Config, parse

SEEDS = ("train.seed", "train.head_seed")
CONFIDENCE = 0.95
SHOWN = 3  # settings in a label
P_VALUE = "_p"

Figures = dict[str, float | int | str | None]


@dataclass(frozen=True)
class Arm:
    """Runs that differ in seeds only: a label of what sets them apart, and their places among all runs given."""

    label: str
    places: tuple[int, ...]


def arms(configs: list[Config]) -> list[Arm]:
    """The arms among runs, in the order in which they appear."""
    identities = [_identity(config) for config in configs]
    kinds: list[dict[str, Any]] = []
    for identity in identities:
        if identity not in kinds:
            kinds.append(identity)
    apart = [key for key in kinds[0] if any(kind[key] != kinds[0][key] for kind in kinds)]
    members = [tuple(i for i, identity in enumerate(identities) if identity == kind) for kind in kinds]
    return [Arm(_label(kind, apart), places) for kind, places in zip(kinds, members, strict=True)]


def compare(configs: list[Config], figures: list[Figures]) -> dict[str, Any]:
    """Means of each arm and differences from the first, ready for JSON: one dictionary of figures a run.

    {"arms": [{"arm", "runs" (their places), "figures": {NAME: {"mean", "interval", "n"}}}], "differences": [{"arm",
    "minus", "pairs", "figures": {NAME: {"difference", "interval", "n"}}}], "notes"}.  An interval is [low, high], or
    None for n = 1.  Words, undefined figures and p-values (NAME_p) are left out: there is nothing in them to average.
    """
    figures = [{name: f for name, f in found.items() if not name.endswith(P_VALUE)} for found in figures]
    groups = arms(configs)
    keys = [(config.train.seed, config.train.head_seed) for config in configs]
    found = {"arms": [_summary(arm, figures) for arm in groups], "differences": [], "notes": []}
    for arm in groups[1:]:
        pairs = _pairs(groups[0], arm, keys)
        found["differences"].append(
            {"arm": arm.label, "minus": groups[0].label, "pairs": len(pairs), "figures": _differences(pairs, figures)}
        )
        if len(pairs) < 2:
            many = "one pair of runs shares its seeds: no interval" if pairs else "no two runs share their seeds"
            found["notes"].append(f"{arm.label} and {groups[0].label}: {many}")
    return found


def mean_and_interval(values: list[float]) -> tuple[float, list[float] | None]:
    """The mean of some values and its 95 percent interval [low, high] by Student's t; None for a single value."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return mean, None
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return mean, [mean - half, mean + half]


def _summary(arm: Arm, figures: list[Figures]) -> dict[str, Any]:
    out = {}
    for name in figures[arm.places[0]]:
        values = [figures[i].get(name) for i in arm.places]
        if all(map(_is_number, values)):
            mean, interval = mean_and_interval(values)
            out[name] = {"mean": mean, "interval": interval, "n": len(values)}
    return {"arm": arm.label, "runs": list(arm.places), "figures": out}


def _differences(pairs: list[tuple[int, int]], figures: list[Figures]) -> dict[str, Any]:
    out = {}
    for name in figures[pairs[0][0]] if pairs else ():
        both = [(figures[i].get(name), figures[j].get(name)) for i, j in pairs]
        values = [theirs - ours for ours, theirs in both if _is_number(ours) and _is_number(theirs)]
        if values:
            mean, interval = mean_and_interval(values)
            out[name] = {"difference": mean, "interval": interval, "n": len(values)}
    return out


def _pairs(first: Arm, second: Arm, keys: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Places of runs with equal seeds; of several runs with the same seeds, the first counts."""
    where = {keys[j]: j for j in reversed(second.places)}
    ours = {keys[i]: i for i in reversed(first.places)}
    return [(i, where[key]) for key, i in sorted(ours.items()) if key in where]


def _identity(config: Config) -> dict[str, Any]:
    flat = parse.flatten(config)
    return {key: value for key, value in flat.items() if key not in SEEDS and not key.startswith("machine.")}


def _label(kind: dict[str, Any], apart: list[str]) -> str:
    """The settings that set an arm apart: "trainable=true, scoring=cosine"."""
    words = [f"{key.rpartition('.')[2]}={_word(kind[key])}" for key in apart[:SHOWN]]
    return ", ".join(words) + (", ..." if len(apart) > SHOWN else "") or "all runs"


def _word(value: Any) -> str:
    return "auto" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
