"""`explain`: what the metrics of an analysis mean, as the file of the analysis states it."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from randhead import registry
from randhead.evaluation.analysis import ALL, chosen
from randhead.evaluation.analysis_tables import glossary, in_order
from randhead.tables import Metric, Result, Table


@dataclass(frozen=True)
class Explanation(Result):
    """The metrics of analyses, by analysis and name."""

    metrics: dict[str, dict[str, Metric]]

    def to_json(self) -> dict[str, Any]:
        """The document: name, definition, better direction and unit of each metric."""
        return {name: {key: asdict(about) for key, about in known.items()} for name, known in self.metrics.items()}

    def tables(self) -> Iterator[Table]:
        """One table per analysis."""
        for name, known in self.metrics.items():
            yield glossary(known.values(), title=name)


def explain(name: str = ALL) -> Explanation:
    """What the metrics of an analysis mean, and which direction is better.

    Args:
        name: an analysis, the path of a Python file with your own, or "all".

    Raises:
        UsageError: for an unknown analysis.

    Example:
        >>> explain("compactness").to_json()["compactness"]["cdnv"]["better"]
        'lower'
    """
    names = in_order(chosen(registry.use("analyses", name)))
    return Explanation({each: getattr(registry.load("analyses", each), "METRICS", {}) for each in names})
