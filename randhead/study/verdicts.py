"""Verdicts on claims: whether the interval of a paired difference says that a claim holds.

A run that diverged has no accuracy, so its pair is left out, and the pairs that remain are those that went well.  A
divergence is a failure of its arm, worse than any value.  So a claim does not hold for certain if runs of its first arm
diverged, and does not fail for certain if runs of its second did: the verdict is then "undecided", and a note says what
the interval over the remaining pairs says.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from randhead.evaluation.shown import difference_shown
from randhead.study import metrics
from randhead.study.claims import FAILS, HOLDS, UNDECIDED, Claim
from randhead.study.differences import Difference, left_out, no_interval
from randhead.tables import count


@dataclass(frozen=True)
class Verdict:
    """A claim and what the runs say about it.

    Attributes:
        claim: the claim.
        difference: of its first arm minus its second.
    """

    claim: Claim
    difference: Difference

    @property
    def of_pairs(self) -> str:
        """What the interval over the pairs in it says, whatever happened to the others."""
        found = self.difference.estimate
        return self.claim.verdict(found.interval if found else None)

    @property
    def verdict(self) -> str:
        """What the runs say: "holds", "does not hold" or "undecided"."""
        return UNDECIDED if self.is_blocked else self.of_pairs

    @property
    def is_blocked(self) -> bool:
        """Whether a verdict is withheld, since failed runs of the arm that it favours were left out."""
        first, second = self.difference.failed
        return (self.of_pairs == HOLDS and first > 0) or (self.of_pairs == FAILS and second > 0)

    @property
    def words(self) -> str:
        """The verdict as it is printed: "undecided at n = 3"."""
        return f"{UNDECIDED} at n = {self.difference.n}" if self.verdict == UNDECIDED else self.verdict

    @property
    def shown(self) -> str:
        """The difference with its interval, in points for shares; a dash without a pair."""
        about = metrics.about(self.claim.metric)
        found = difference_shown(about, self.difference.estimate)
        return f"{found} {about.difference_unit}".strip() if found else "-"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of this verdict."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        found = self.difference
        about = metrics.about(self.claim.metric)
        if not found.pairs and found.done and not any(found.failed):
            yield f"{about.name} was not measured"
        elif found.n == 1:
            yield "one pair of runs has no interval"
        elif found.pairs and found.estimate and found.estimate.interval is None:
            yield no_interval(found)
        elif note := found.note:
            yield note
        if found.done < found.planned:
            yield f"{found.done} of {count(found.planned, 'pair')} done: the verdict can change"
        yield from left_out(found)
        if self.is_blocked:
            arm = found.first if self.of_pairs == HOLDS else found.second
            yield (
                f"over the other pairs it {self.of_pairs}; undecided, since leaving out failed runs of {arm} favours it"
            )

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {
            **self.claim.to_json(),
            "verdict": self.words,
            "interval_says": self.of_pairs,
            "shown": self.shown,
            "notes": list(self.notes),
            **self.difference.to_json(),
        }
