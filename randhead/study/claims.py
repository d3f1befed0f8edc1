"""Claims: sentences about two arms that a study finds to hold, not to hold, or to be undecided.

A claim says that the difference of a metric between two arms is above a threshold: 0 for "better", above it for "better
by", below it for "not worse within".  It holds if the whole 95 percent interval of the paired difference lies above the
threshold, does not hold if the whole interval lies below, and is undecided otherwise.
"""

import re
from dataclasses import dataclass
from typing import Any

from randhead.errors import UsageError
from randhead.intervals import Interval
from randhead.study import metrics

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
GRAMMAR = re.compile(
    r"\s*(?P<first>\S+)\s*(?P<sign>>=?)\s*(?P<second>\S+)\s+on\s+(?P<metric>\w+)"
    r"(?:\s+(?P<word>by|within)\s+(?P<margin>\d+(?:\.\d+)?))?\s*"
)
EXAMPLES = '"dot-fixed > dot-learned on accuracy", "... > ... on accuracy by 0.5", "... >= ... on accuracy within 1"'


@dataclass(frozen=True)
class Claim:
    """A claim about two arms.

    Attributes:
        first: the arm that is said to be better, or not worse.
        second: the arm that it is compared with.
        metric: key of the metric; better means higher or lower, as the metric says.
        threshold: what the difference, counted towards better, is said to exceed; in the unit shown (points for
            shares).
        published: the published result, in words.
        source: where it was published.
    """

    first: str
    second: str
    metric: str
    threshold: float = 0.0
    published: str = ""
    source: str = ""

    @property
    def text(self) -> str:
        """The claim as it is typed."""
        sign, tail = (">=", f" within {-self.threshold:g}") if self.threshold < 0 else (">", "")
        tail = f" by {self.threshold:g}" if self.threshold > 0 else tail
        return f"{self.first} {sign} {self.second} on {self.metric}{tail}"

    def verdict(self, interval: Interval | None) -> str:
        """What the interval of the difference, first minus second, says.

        Args:
            interval: in the unit of the metric, shares in [0, 1]; None if there is none.
        """
        if interval is None:
            return UNDECIDED
        about = metrics.about(self.metric)
        low, high = about.scale * interval.low, about.scale * interval.high
        if about.better == "lower":
            low, high = -high, -low
        if low > self.threshold:
            return HOLDS
        return FAILS if high < self.threshold else UNDECIDED

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {"claim": self.text, "published": self.published, "source": self.source}


def parse(text: str, *, published: str = "", source: str = "") -> Claim:
    """A claim from text.

    Raises:
        UsageError: for text that is no claim, an unknown metric, and a metric that is neither better nor worse.

    Example:
        >>> parse("dot-fixed >= dot-learned on accuracy within 1").threshold
        -1.0
    """
    found = GRAMMAR.fullmatch(text)
    if not found:
        raise UsageError(f"cannot read the claim {text!r}", hint=f"write for example {EXAMPLES}")
    first, sign, second, metric, word, margin = found.group("first", "sign", "second", "metric", "word", "margin")
    if (sign == ">=") != (word == "within"):
        raise UsageError(
            f"cannot read the claim {text!r}", hint=f"`>` with or without `by`, `>=` with `within`: {EXAMPLES}"
        )
    if not metrics.about(metric).better:
        raise UsageError(
            f"claim {text!r}: {metric} is neither better nor worse", hint=f"metrics: {', '.join(metrics.METRICS)}"
        )
    value = float(margin or 0)
    return Claim(first, second, metric, -value if word == "within" else value, published, source)
