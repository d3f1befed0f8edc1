"""The runs of an arm and the means of its metrics, with the intervals of `evaluation.estimates`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from randhead import intervals
from randhead.evaluation.estimates import Estimate, estimate, independent
from randhead.study import metrics
from randhead.study.metrics import CONVERGED
from randhead.study.records import RunRecord


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
        return sum(record.value(CONVERGED) == 0 for record in self.records)

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
        values = [(value, record.seeds) for record in records if (value := record.value(key)) is not None]
        if values:
            means[key] = _mean(key, [value for value, _ in values], [seeds for _, seeds in values])
    return ArmResult(name, tuple(records), planned, means)


def _mean(metric: str, values: Sequence[float], seeds: Sequence[tuple[int, int]]) -> Estimate:
    mean = estimate(values, seeds)
    if metric == CONVERGED:
        countable = independent(seeds) and len(values) > 1
        return replace(mean, interval=intervals.wilson(round(sum(values)), len(values)) if countable else None)
    return replace(mean, interval=mean.interval and mean.interval.within(*metrics.about(metric).limits))
