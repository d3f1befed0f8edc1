"""`explain`: what the metrics, intervals, p-values and verdicts of a study mean."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from randhead.study.claims import FAILS, HOLDS, UNDECIDED
from randhead.study.metrics import METRICS
from randhead.tables import Metric, Result, Table, rows

SHOWN = ("name", "definition", "better", "unit")  # of a metric in a document
STATISTICS = {
    "mean": "mean over the runs of an arm that did not diverge, with a 95 % interval for new seeds (Student's t; seeds "
    "of vectors that are crossed with seeds of training are not counted as independent)",
    "difference": "mean of arm minus control, both trained with the same seeds (paired), with a 95 % interval; shares "
    "in percentage points",
    "p": "p-value of the paired t-test, or for crossed seeds of the two-way random effects: how often a difference "
    "this far from 0 would be seen if there were none",
    "flip": "the same by an exact permutation test: the share of all sign changes of the paired differences "
    "whose mean is as far from 0; up to 12 pairs",
    "Holm": "p after Holm's correction for comparing several arms with one control",
    "pairs": "pairs of runs with which a difference of 0.5 points would be seen with probability 0.8, at the "
    "standard deviation that was found",
}
VERDICTS = {
    HOLDS: "the whole 95 % interval of the difference is on the side that the claim says",
    FAILS: "the whole 95 % interval is on the other side",
    UNDECIDED: "the interval has values on both sides, or there is none: more seeds could decide; or runs of the arm "
    "that the verdict would favour diverged: these count as worse than any others, and are not left out in its favour",
}


@dataclass(frozen=True)
class Explanation(Result):
    """What the columns of a study's tables mean.

    Attributes:
        metrics: by the key that claims use.
        statistics: the columns of means and differences, by their titles.
        verdicts: the verdicts of claims.
    """

    metrics: dict[str, Metric]
    statistics: dict[str, str]
    verdicts: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """The document: name, definition, better direction and unit of each metric; the rest as words."""
        metrics = {key: {name: getattr(about, name) for name in SHOWN} for key, about in self.metrics.items()}
        return {"metrics": metrics, "statistics": self.statistics, "verdicts": self.verdicts}

    def tables(self) -> Iterator[Table]:
        """Metrics with the keys that claims use, statistics, verdicts."""
        cells = [(key, about.title, about.definition) for key, about in self.metrics.items()]
        yield Table("Metrics", ("in claims", "metric", "definition"), rows(cells))
        yield Table("Statistics", ("column", "definition"), rows(self.statistics.items()))
        yield Table("Verdicts", ("verdict", "meaning"), rows(self.verdicts.items()))


def explain() -> Explanation:
    """What the metrics, intervals, p-values and verdicts of a study mean.

    Example:
        >>> explain().metrics["nll"].better
        'lower'
    """
    return Explanation(METRICS, STATISTICS, VERDICTS)
