"""Claims: sentences about two arms that a study finds to hold, not to hold, or to be undecided.

A claim says that the difference of a metric between two arms is above a threshold: 0 for "better", above it for "better
by", below it for "not worse within".  `>` means better, so for a metric of which less is better (nll, epochs) it means
less.  A claim holds if the whole 95 percent interval of the paired difference lies above the threshold, does not hold
if the whole interval lies below, and is undecided otherwise.
"""

import re
from dataclasses import dataclass
from typing import Any

from randhead.arguments import has_controls
from randhead.errors import UsageError, unknown
from randhead.intervals import Interval
from randhead.study import metrics
from randhead.study.documents import TEXT, entries

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
ARM = r"[A-Za-z0-9][A-Za-z0-9._+=-]*"
GRAMMAR = re.compile(
    rf"(?P<first>{ARM}) ?(?P<sign>[<>]=?|={{1,2}}) ?(?P<second>{ARM}) on (?P<metric>\w+)"
    r"(?: (?P<word>by|within) (?P<margin>\d{1,6}(?:\.\d{1,6})?))?"
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

    def __post_init__(self) -> None:
        if self.first == self.second:
            raise UsageError(f"claim {self.text!r} is about one arm", hint="name two arms")
        if not metrics.about(self.metric).better:
            raise UsageError(
                f"claim {self.text!r}: {self.metric} is neither better nor worse",
                hint=f"metrics: {', '.join(key for key, metric in metrics.METRICS.items() if metric.better)}",
            )
        if has_controls(self.published + self.source):
            raise UsageError(f"claim {self.text!r}: its texts have control characters, such as line breaks")

    @property
    def text(self) -> str:
        """The claim as it is typed; `parse` of it gives the same claim."""
        sign, margin = (">=" if self.threshold < 0 else ">"), f"{abs(self.threshold):.6f}".rstrip("0").rstrip(".")
        tail = f" {'within' if self.threshold < 0 else 'by'} {margin}" if self.threshold else ""
        return f"{self.first} {sign} {self.second} on {self.metric}{tail}"

    def verdict(self, interval: Interval | None) -> str:
        """What the interval of the difference, first minus second, says.

        Args:
            interval: in the unit of the metric, shares in [0, 1]; None if there is none.

        Example:
            >>> parse("a > b on accuracy by 0.5").verdict(Interval(0.006, 0.02))
            'holds'
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

    @classmethod
    def from_json(cls, document: Any) -> "Claim":
        """The inverse of `to_json`; `published` and `source` can be missing.  Raises UsageError for other documents."""
        kinds, texts = {"claim": TEXT, "published": TEXT, "source": TEXT}, {"published": "", "source": ""}
        found = entries("a claim", document, kinds, optional=texts)
        return parse(found["claim"], published=found["published"], source=found["source"])


def parse(text: str, *, published: str = "", source: str = "") -> Claim:
    """A claim from text.

    Args:
        text: "A > B on METRIC", "A > B on METRIC by X" or "A >= B on METRIC within X", where > means better; X is in
            the unit that tables show, points for shares.
        published: the published result, in words.
        source: where it was published.

    Raises:
        UsageError: for text that is no claim, an unknown metric, and a metric that is neither better nor worse.

    Example:
        >>> parse("dot-fixed >= dot-learned on accuracy within 1").threshold
        -1.0
    """
    found = GRAMMAR.fullmatch(" ".join(text.replace("\u2265", ">=").split()))
    if not found:
        raise _unreadable(text, f"write for example {EXAMPLES}")
    first, sign, second, metric, word, margin = found.group("first", "sign", "second", "metric", "word", "margin")
    if sign not in (">", ">="):
        raise _unreadable(text, _turned(first, sign, second, metric))
    value = float(margin or 0)
    if (sign == ">=") != (word == "within"):
        raise _unreadable(text, f"`>=` needs `within`, and `>` may have `by`: {EXAMPLES}")
    if word == "within" and not value:
        raise _unreadable(text, "no interval shows that two arms are exactly equal: give a margin above 0")
    if metric not in metrics.METRICS:
        error = unknown("metric of a study", metric, metrics.METRICS)
        raise UsageError(f"claim {text!r}: {error.message}", hint=error.hint)
    return Claim(first, second, metric, -value if word == "within" else value, published, source)


def _turned(first: str, sign: str, second: str, metric: str) -> str:
    """The hint for a sign that no claim has: what may be meant."""
    if sign.startswith("="):
        return f'equal within a margin is two claims: "{first} >= {second} on {metric} within 1", and the other way'
    better = getattr(metrics.METRICS.get(metric), "better", "higher")
    meant = (first, second) if better == "lower" else (second, first)
    about = f"`>` means better{f', which is lower for {metric}' if better == 'lower' else ''}"
    return f'{about}: write "{meant[0]} > {meant[1]} on {metric}"'


def _unreadable(text: str, hint: str) -> UsageError:
    return UsageError(f"cannot read the claim {text!r}", hint=hint)
