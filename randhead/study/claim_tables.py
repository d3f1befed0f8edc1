"""The table of claims: verdicts with differences and published results, of one or several studies."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from randhead.evaluation.shown import INTERVAL
from randhead.study.verdicts import Verdict
from randhead.tables import Cell, Table, count, rows

if TYPE_CHECKING:
    from randhead.study.result import StudyResult

SHORT = 24  # characters of a published result that fits beside the others on a terminal
MEANING = (
    "difference: first arm minus second; points are percentage points",
    "intervals are over seeds: how another draw of the test images would change them is not in them",
    "a claim holds if the whole 95 % interval is beyond its threshold, and does not hold if the whole interval is on "
    "the other side; each claim is tested at 95 %, without a correction for their number",
)


def of_claims(results: "Sequence[StudyResult]", *, beside: bool = True) -> Table:
    """One line per claim of one or several studies, with its verdict and the published result.

    Args:
        results: the studies.
        beside: whether published results are in a column if they are long; else they are notes, for a terminal.
    """
    several = len(results) > 1
    found = [(result, verdict) for result in results for verdict in result.verdicts]
    verdicts = [verdict for _, verdict in found]
    beside = beside or all(len(verdict.claim.published) <= SHORT for verdict in verdicts)
    cells: list[list[Cell]] = [
        [
            result.study.name if several else None,
            f"{i}. {verdict.claim.text}" if len(found) > 1 else verdict.claim.text,
            verdict.words,
            verdict.shown,
            verdict.difference.n,
            (verdict.claim.published or None) if beside else None,
        ]
        for i, (result, verdict) in enumerate(found, start=1)
    ]
    reasons = [f"{of}: {note}" if of else note for note, of in _numbered(each.notes for each in verdicts)]
    columns = ("study", "claim", "verdict", f"difference {INTERVAL}", "n", "published")
    title = "claims" if several else titled(results[0], "claims")
    notes = (*reasons, *MEANING, *_published(verdicts, beside=beside))
    return Table(title, columns, rows(cells), notes).without_empty_columns()


def titled(result: "StudyResult", title: str) -> str:
    """A title with the name of the study, and the number of runs that are done, if some are missing."""
    missing = "" if result.is_complete else f" ({len(result.records)} of {count(result.planned, 'run')} done)"
    return f"{result.study.name}: {title}{missing}"


def named(result: "StudyResult", table: Table) -> Table:
    """A table whose title begins with the name of the study, for tables of several."""
    name = f"{result.study.name}: "
    return replace(table, title=f"{name}{table.title.removeprefix(name)}")


def _published(verdicts: Sequence[Verdict], *, beside: bool) -> Iterator[str]:
    """Where results were published, and these if they are not in a column."""
    texts = [_cited(verdict, beside=beside) for verdict in verdicts]
    for text, of in _numbered([text] if text else [] for text in texts):
        yield f"published{f' on {of}' if of else ''}: {text}"


def _cited(verdict: Verdict, *, beside: bool) -> str:
    """A source, after the result if it is not in a column."""
    claim = verdict.claim
    if beside or not claim.published:
        return claim.source
    return f"{claim.published} ({claim.source})" if claim.source else claim.published


def _numbered(notes: Iterable[Iterable[str]]) -> Iterator[tuple[str, str]]:
    """The notes on claims, each once, with the numbers of its claims in words; "" if it is about all."""
    each = [list(of_claim) for of_claim in notes]
    said: dict[str, list[int]] = {}
    for i, of_claim in enumerate(each, start=1):
        for note in of_claim:
            said.setdefault(note, []).append(i)
    for note, numbers in said.items():
        which = f"claim{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
        yield note, "" if len(numbers) == len(each) else which
