"""Means over runs with 95 percent intervals that know which runs share a seed.

Runs that share the head seed or the training seed are not independent.  The method follows from the seeds:

* runs that share neither (one-to-one): Student's t over the runs;
* a grid of A head seeds x S training seeds: the two-way random-effects model, `intervals.crossed`;
* a grid with missing runs: the mean over all runs with the width that a complete sub-grid has, if at least half of
  the runs are in it;
* one head seed, or one training seed: Student's t over the other one, and a note, since the effect of the seed that all
  runs share cannot be estimated;
* groups of runs that share no seed with one another: Student's t over the means of the groups.

Equal values have no interval: they say nothing about how far others would be from them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from randhead import intervals
from randhead.intervals import Interval

Seeds = tuple[int, int]  # of the class vectors, of the training
FEW = 3  # seeds of each kind; with fewer, the simulated coverage of the crossed interval falls to 90 percent


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 percent interval.

    Attributes:
        value: the mean.
        interval: over runs ("student" or "crossed"); for a single value over images, or None.
        n: number of values in the mean.
        std: the standard deviation of the values; None for a single one.
    """

    value: float
    interval: Interval | None
    n: int
    std: float | None = None

    @property
    def over_images(self) -> bool:
        """Whether the interval is over images: a single run or pair of runs has none over seeds."""
        return self.interval is not None and self.n == 1

    def to_json(self, kind: str) -> dict[str, Any]:
        """The document; `kind` is the key of the value."""
        found = self.interval
        ends, method = ([found.low, found.high], found.method) if found else (None, None)
        return {kind: self.value, "interval": ends, "n": self.n, "method": method, "std": self.std}


@dataclass(frozen=True)
class SeedDesign:
    """How the seeds of some runs are combined: groups of runs that share no seed with one another.

    Attributes:
        runs: number of pairs of seeds.
        groups: the pairs of seeds of each group.
        heads: the head seeds of a single group, of its complete sub-grid if runs are missing.
        trains: its training seeds.
    """

    runs: int
    groups: tuple[tuple[Seeds, ...], ...]
    heads: tuple[int, ...] = ()
    trains: tuple[int, ...] = ()

    @property
    def used(self) -> int:
        """Number of runs in the complete grid of a single group."""
        return len(self.heads) * len(self.trains)

    @property
    def has_interval(self) -> bool:
        """Whether the complete grid has at least half of the runs: that of a few says little about the others."""
        return len(self.groups) > 1 or 2 * self.used >= self.runs

    def note(self) -> str | None:
        """What the reader of an interval must know; None for a single run and for runs that share no seed."""
        if len(self.groups) > 1:
            if len(self.groups) == self.runs:
                return None
            what = "intervals" if len(set(map(len, self.groups))) == 1 else "means and intervals"
            return f"{what} over {len(self.groups)} groups of runs that share no seed: within a group they do"
        if self.used < 2:
            return None
        if not self.has_interval:
            return f"no intervals: of {self.runs} runs, only {self.used} have all combinations of their seeds"
        part = f"of {self.used} of {self.runs} runs, a complete grid" if self.used < self.runs else ""
        for seeds, what, effect in ((self.heads, "head seed", "the class vectors"), (self.trains, "seed", "the rest")):
            if len(seeds) == 1:
                who = f"the width is that {part}, and they" if part else "all runs"
                return f"{who} have {what} {seeds[0]}: intervals leave out the effect of the draw of {effect}"
        width = f" (width {part})" if part else ""
        grid = f"{len(self.heads)} head seeds x {len(self.trains)} seeds{width}: intervals of two-way random effects"
        few = min(len(self.heads), len(self.trains)) < FEW
        return f"{grid}; with 2 seeds of a kind they are unreliable, use {FEW} of each" if few else grid


def seed_design(seeds: Sequence[Seeds]) -> SeedDesign:
    """How the seeds of runs are combined."""
    pairs = sorted(set(seeds))
    groups = _groups(pairs)
    return SeedDesign(len(pairs), groups, *(_complete(pairs) if len(groups) == 1 else ()))


def independent(seeds: Sequence[Seeds]) -> bool:
    """Whether no two runs share a head seed or a seed."""
    return len(seed_design(seeds).groups) == len(seeds)


def estimate(values: Sequence[float], seeds: Sequence[Seeds] | None = None) -> Estimate:
    """The mean of one value per run with its 95 percent interval, if there is one.

    Runs with equal seeds count as one, with their mean.

    Args:
        values: one per run, or one per pair of runs with equal seeds.
        seeds: head seed and training seed of each; by default no two share one.

    Example:
        >>> estimate([1.0, 2.0, 3.0])
        Estimate(value=2.0, interval=Interval(low=-0.48..., high=4.48..., level=0.95, method='student'), n=3, std=1.0)
    """
    seeds = [(i, i) for i in range(len(values))] if seeds is None else seeds
    cells: dict[Seeds, list[float]] = {}
    for key, value in zip(seeds, values, strict=True):
        cells.setdefault(key, []).append(value)
    means = {key: fmean(found) for key, found in cells.items()}
    found = seed_design(list(means))
    if len(found.groups) > 1:
        used = [fmean(means[key] for key in group) for group in found.groups]
        return _estimate(fmean(used), intervals.student(used), used, list(means.values()))
    grid = [[means[h, s] for s in found.trains] for h in found.heads]
    used = [value for row in grid for value in row]
    interval = intervals.crossed(grid) if found.has_interval else None
    return _estimate(fmean(means.values()), interval, used, list(means.values()))


def _estimate(value: float, interval: Interval | None, used: Sequence[float], values: Sequence[float]) -> Estimate:
    """The mean of values; its interval is that of those used, moved to the mean of all."""
    if interval and math.isclose(min(used), max(used), rel_tol=1e-9, abs_tol=1e-12):
        interval = None
    if interval and len(used) < len(values):
        moved = value - fmean(used)
        interval = replace(interval, low=interval.low + moved, high=interval.high + moved)
    return Estimate(value, interval, len(values), stdev(values) if len(values) > 1 else None)


def _groups(pairs: Sequence[Seeds]) -> tuple[tuple[Seeds, ...], ...]:
    """Runs that share a seed, directly or through others, are one group."""
    groups: list[list[Seeds]] = []
    for pair in pairs:
        joined = [group for group in groups if any(pair[0] == h or pair[1] == s for h, s in group)]
        groups = [group for group in groups if group not in joined]
        groups.append([pair, *(other for group in joined for other in group)])
    return tuple(tuple(sorted(group)) for group in groups)


def _complete(pairs: Sequence[Seeds]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Head seeds and training seeds of which every combination is there: the emptiest are left out one by one."""
    there = set(pairs)
    heads, trains = sorted({h for h, _ in there}), sorted({s for _, s in there})
    while len(there & {(h, s) for h in heads for s in trains}) < len(heads) * len(trains):
        rows = [(sum((h, s) in there for s in trains) / len(trains), -len(heads), -i, 0) for i, h in enumerate(heads)]
        columns = [
            (sum((h, s) in there for h in heads) / len(heads), -len(trains), -i, 1) for i, s in enumerate(trains)
        ]
        *_, index, is_train = min(rows + columns)
        (trains if is_train else heads).pop(-index)
    return tuple(heads), tuple(trains)
