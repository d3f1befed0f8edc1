"""Means of an arm and paired differences of two arms, from the records of their runs.

Runs of two arms with the same head seed and seed are a pair: they have the same initial weights, batches and crops.
Means and intervals are those of `evaluation.estimates`, which knows which runs share a seed; p-values follow from the
same model.  A run that diverged has no metrics but one: it did not converge.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from randhead import intervals, significance
from randhead.evaluation.estimates import Estimate, design, estimate
from randhead.intervals import Interval
from randhead.study import metrics
from randhead.study.records import RunRecord
from randhead.tables import count

CONVERGED, EPOCHS = "converged", "epochs"
TARGET = 0.005  # of an accuracy: the difference for which the number of pairs is computed, 0.5 points
LEAST_P = 0.0005  # that is shown with three digits after the point
ACCURACIES = ("accuracy", "corruption_accuracy", "transfer", "transfer_1nn")


@dataclass(frozen=True)
class ArmResult:
    """The runs of an arm that are done, and their means.

    Attributes:
        name: of the arm.
        records: one per run that is done.
        planned: number of runs that the design has.
        means: mean of each metric over the runs that have it.
    """

    name: str
    records: tuple[RunRecord, ...]
    planned: int
    means: Mapping[str, Estimate]

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of the run folders."""
        return tuple(record.run for record in self.records)

    @property
    def diverged(self) -> int:
        """Number of runs whose training diverged."""
        return sum(bool(record.diverged) for record in self.records)

    @property
    def not_converged(self) -> int:
        """Number of runs that diverged, or ended no better than chance."""
        return sum(value_of(record, CONVERGED) == 0 for record in self.records)

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {
            "arm": self.name,
            "runs": list(self.runs),
            "planned": self.planned,
            "diverged": self.diverged,
            "not_converged": self.not_converged,
            "metrics": {key: found.to_json("mean") for key, found in self.means.items()},
        }


@dataclass(frozen=True)
class Pair:
    """Two runs with the same seeds, and the value of the first minus that of the second."""

    head_seed: int
    seed: int
    first: str
    second: str
    difference: float


@dataclass(frozen=True)
class Difference:
    """The difference of a metric between two arms, first minus second, over pairs of runs with the same seeds.

    Attributes:
        first: name of an arm.
        second: name of the arm that is subtracted.
        metric: key of the metric.
        pairs: the pairs of runs that both have a value, by seeds.
        done: number of pairs of runs that are done.
        planned: number of pairs that the design has.
        failed: numbers of runs of the first and of the second arm, of those in pairs that are done, that have no value
            since they diverged, or did not converge.
        estimate: mean and interval of the difference in the unit of the metric, shares in [0, 1]; None without a pair.
        p: two-sided, of the model that the interval is made with; None without an interval.
        sign_flip_p: of the exact permutation test; None if pairs share a seed, for more than 12, and for one.
        holm_p: `p` corrected for all arms that are compared with the control; None for other differences.
        pairs_needed: independent pairs that would show a difference of 0.5 points with power 0.8; None if the metric is
            no accuracy, or pairs share a seed.
    """

    first: str
    second: str
    metric: str
    pairs: tuple[Pair, ...]
    done: int
    planned: int
    failed: tuple[int, int]
    estimate: Estimate | None
    p: float | None = None
    sign_flip_p: float | None = None
    holm_p: float | None = None
    pairs_needed: int | None = None

    @property
    def n(self) -> int:
        """Number of pairs in the mean."""
        return len(self.pairs)

    @property
    def independent(self) -> bool:
        """Whether no two pairs share a seed."""
        return independent(self.seeds)

    @property
    def seeds(self) -> list[tuple[int, int]]:
        """Head seed and seed of each pair."""
        return [(pair.head_seed, pair.seed) for pair in self.pairs]

    @property
    def note(self) -> str | None:
        """How the interval takes account of seeds that pairs share; None if they share none."""
        return design(self.seeds).note() if self.pairs else None

    def to_json(self) -> dict[str, Any]:
        """The document."""
        found = self.estimate.to_json("difference") if self.estimate else {"difference": None, "n": 0}
        return {
            "arm": self.first,
            "minus": self.second,
            "metric": self.metric,
            **found,
            "p": self.p,
            "sign_flip_p": self.sign_flip_p,
            "holm_p": self.holm_p,
            "pairs_needed": self.pairs_needed,
            "done": self.done,
            "planned": self.planned,
            "failed": list(self.failed),
            "pairs": [vars(pair) for pair in self.pairs],
        }


def value_of(record: RunRecord, metric: str) -> float | None:
    """The value of a metric in a run; None if it has none, which is so for all but `converged` if it diverged."""
    if record.diverged:
        return 0.0 if metric == CONVERGED else None
    return record.metrics.get(metric)


def _failed(record: RunRecord, metric: str) -> bool:
    """Whether a run has no value of a metric because it diverged, or, for epochs to convergence, did not converge."""
    return value_of(record, metric) is None and value_of(record, CONVERGED) == 0


def independent(seeds: Sequence[tuple[int, int]]) -> bool:
    """Whether no two runs share a head seed or a seed."""
    return len(design(seeds).groups) == len(seeds)


def arm_result(name: str, records: Sequence[RunRecord], planned: int, keys: Sequence[str]) -> ArmResult:
    """The means of an arm.

    Args:
        name: of the arm.
        records: its runs that are done.
        planned: number of its runs in the design.
        keys: of the metrics.
    """
    means = {}
    for key in keys:
        values = [(value, seeds_of(record)) for record in records if (value := value_of(record, key)) is not None]
        if values:
            means[key] = _mean(key, [value for value, _ in values], [seeds for _, seeds in values])
    return ArmResult(name, tuple(records), planned, means)


def seeds_of(record: RunRecord) -> tuple[int, int]:
    """Head seed and training seed."""
    return record.head_seed, record.seed


def difference(
    first: str, second: str, metric: str, records: Mapping[str, Sequence[RunRecord]], planned: int
) -> Difference:
    """The difference of a metric between two arms.

    Args:
        first: name of an arm.
        second: name of the arm that is subtracted.
        metric: key of the metric.
        records: of each arm, the runs that are done.
        planned: number of pairs in the design.
    """
    others = {seeds_of(record): record for record in records[second]}
    done = [(a, others[seeds_of(a)]) for a in records[first] if seeds_of(a) in others]
    failed = (sum(_failed(a, metric) for a, _ in done), sum(_failed(b, metric) for _, b in done))
    pairs = []
    for a, b in sorted(done, key=lambda pair: seeds_of(pair[0])):
        x, y = value_of(a, metric), value_of(b, metric)
        if x is not None and y is not None:
            pairs.append(Pair(a.head_seed, a.seed, a.run, b.run, x - y))
    found = Difference(first, second, metric, tuple(pairs), len(done), planned, failed, None)
    return _tested(found) if pairs else found


def with_holm(differences: Sequence[Difference]) -> list[Difference]:
    """Differences from the control with p-values corrected over the arms, separately per metric."""
    corrected: dict[int, float | None] = {}
    for key in dict.fromkeys(each.metric for each in differences):
        members = [i for i, each in enumerate(differences) if each.metric == key]
        corrected |= dict(zip(members, significance.holm([differences[i].p for i in members]), strict=True))
    return [replace(each, holm_p=corrected[i]) for i, each in enumerate(differences)]


def _tested(found: Difference) -> Difference:
    """A difference with its estimate and tests."""
    values = [pair.difference for pair in found.pairs]
    seeds = found.seeds
    alone = found.independent and len(values) > 1
    if found.metric == CONVERGED:
        gained, lost = values.count(1.0), values.count(-1.0)
        interval = intervals.paired(gained, lost, len(values)) if alone else None
        mean = replace(estimate(values, seeds), interval=interval)
        return replace(found, estimate=mean, p=intervals.mcnemar(gained, lost) if alone else None)
    mean = estimate(values, seeds)
    p = significance.p_value(mean.value, mean.interval)
    low, high = metrics.about(found.metric).limits
    mean = replace(mean, interval=_within(mean.interval, low - high, high - low))
    flipped = significance.sign_flip(values) if alone else None
    needed = significance.pairs_needed(mean.std, TARGET) if alone and found.metric in ACCURACIES else None
    return replace(found, estimate=mean, p=p, sign_flip_p=flipped, pairs_needed=needed)


def _mean(metric: str, values: Sequence[float], seeds: Sequence[tuple[int, int]]) -> Estimate:
    mean = estimate(values, seeds)
    if metric == CONVERGED:
        alone = independent(seeds) and len(values) > 1
        return replace(mean, interval=intervals.wilson(round(sum(values)), len(values)) if alone else None)
    return replace(mean, interval=_within(mean.interval, *metrics.about(metric).limits))


def _within(interval: Interval | None, low: float, high: float) -> Interval | None:
    return interval and interval.within(low, high)


def left_out(found: Difference) -> Iterator[str]:
    """Sentences on pairs that are not in a difference since a run failed, or has no value."""
    what = "did not converge" if found.metric == EPOCHS else "diverged"
    for arm, failed in zip((found.first, found.second), found.failed, strict=True):
        if failed:
            over = f"the difference is over {count(found.n, 'pair')}" if found.n else "there is no difference"
            yield f"{failed} of {count(found.done, 'run')} of {arm} {what}: {over}"
    if found.pairs and found.n < found.done and not any(found.failed):
        yield f"{metrics.about(found.metric).name}: {count(found.done - found.n, 'pair')} without a value left out"


def no_interval(found: Difference) -> str:
    """Why a difference over several pairs has no interval."""
    if found.metric == CONVERGED:
        return "no interval: pairs that share a seed are not independent, and each is only yes or no"
    if not design(found.seeds).has_interval:
        return "no interval: too few runs have all combinations of their seeds"
    return "no interval: the difference is the same in all pairs, which says nothing about others"


def p_shown(p: float | None) -> str | None:
    """A p-value with three digits after the point, or one digit if it is smaller.

    Example:
        >>> p_shown(0.0625), p_shown(0.00001)
        ('0.062', '1e-05')
    """
    if p is None:
        return None
    return f"{p:.3f}" if p >= LEAST_P else f"{p:.0e}"
