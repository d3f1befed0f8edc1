"""Paired differences of two arms, from the records of their runs.

Runs of two arms with the same head seed and seed are a pair: they have the same initial weights, batches and crops.
Means and intervals are those of `evaluation.estimates`, which knows which runs share a seed; p-values follow from the
same model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from randhead import intervals, significance
from randhead.evaluation.estimates import Estimate, estimate, independent, seed_design
from randhead.study import metrics
from randhead.study.metrics import CONVERGED, EPOCHS
from randhead.study.records import RunRecord
from randhead.tables import count

TARGET = 0.005  # of an accuracy: the difference for which the number of pairs is computed, 0.5 points
ACCURACIES = ("accuracy", "corruption_accuracy", "transfer", "transfer_1nn")


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
        return seed_design(self.seeds).note() if self.pairs else None

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


def _failed(record: RunRecord, metric: str) -> bool:
    """Whether a run has no value of a metric because it diverged, or, for epochs to convergence, did not converge."""
    return record.value(metric) is None and record.value(CONVERGED) == 0


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
    others = {record.seeds: record for record in records[second]}
    done = [(a, others[a.seeds]) for a in records[first] if a.seeds in others]
    failed = (sum(_failed(a, metric) for a, _ in done), sum(_failed(b, metric) for _, b in done))
    pairs = []
    for a, b in sorted(done, key=lambda pair: pair[0].seeds):
        x, y = a.value(metric), b.value(metric)
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
    testable = found.independent and len(values) > 1
    if found.metric == CONVERGED:
        gained, lost = values.count(1.0), values.count(-1.0)
        interval = intervals.paired(gained, lost, len(values)) if testable else None
        mean = replace(estimate(values, seeds), interval=interval)
        return replace(found, estimate=mean, p=intervals.mcnemar(gained, lost) if testable else None)
    mean = estimate(values, seeds)
    p = significance.p_value(mean.value, mean.interval)
    low, high = metrics.about(found.metric).limits
    mean = replace(mean, interval=mean.interval and mean.interval.within(low - high, high - low))
    flipped = significance.sign_flip(values) if testable else None
    needed = significance.pairs_needed(mean.std, TARGET) if testable and found.metric in ACCURACIES else None
    return replace(found, estimate=mean, p=p, sign_flip_p=flipped, pairs_needed=needed)


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
    if not seed_design(found.seeds).has_interval:
        return "no interval: too few runs have all combinations of their seeds"
    return "no interval: the difference is the same in all pairs, which says nothing about others"
