"""The result of studies in words and tables: what a page says about it, and as Markdown and LaTeX."""

from collections.abc import Sequence

from randhead import escapes
from randhead.report import exports
from randhead.study import claim_tables, design_tables, tables
from randhead.study.result import StudyResult
from randhead.tables import Table, capitalised

READING = (
    "Runs of two arms with the same seeds start from the same weights and see the same batches and crops, so that "
    "differences are paired by seed, which cancels what a seed does to both; p-values with Holm's correction allow for "
    "the number of arms that are compared with the control.",
    "A claim is undecided at n pairs if the 95 % interval of its difference has values on both sides of what it "
    "claims: n is too small to tell, which does not say that the arms are equal.",
)
FILES = "`runs.csv` has every value of every run with the name of its run folder, `result.json` everything."


def title(results: Sequence[StudyResult]) -> str:
    """The title of the studies."""
    if len(results) == 1:
        study = results[0].study
        return study.title or f"Study {study.name}"
    return f"{len(results)} studies"


def summary(result: StudyResult) -> list[str]:
    """Lines about a study: its source, what was trained, on what, and whether anything was tuned."""
    study = result.study
    lines = [f"Claims from {study.source}"] if study.source else []
    lines += design_tables.conditions(result)
    lines += design_tables.sweep(result).notes
    return [capitalised(line) for line in lines]


def markdown(results: Sequence[StudyResult]) -> str:
    """All tables as Markdown, the claims first."""
    lines = [f"# {escapes.markdown(title(results))}", ""]
    if len(results) == 1:
        lines += [*_bullets(summary(results[0])), ""]
    lines += [f"{escapes.markdown(sentence)}\n" for sentence in READING]
    lines += [FILES, ""]
    for table in _claims(results):
        lines += exports.markdown_table(table, level=2)
    for result in results:
        if len(results) > 1:
            heading = escapes.markdown(result.study.title or result.study.name)
            lines += [f"## {heading}", "", *_bullets(summary(result)), ""]
        for table in tables.of_study(result):
            if table.rows:  # the notes of one without are in the summary
                lines += exports.markdown_table(table, level=2 + (len(results) > 1))
    return "\n".join(lines)


def latex(results: Sequence[StudyResult]) -> str:
    """All tables as LaTeX, the claims first; each has a caption and notes that need no other table."""
    found = _claims(results)
    for result in results:
        found += [claim_tables.named(result, table) for table in tables.of_study(result, noted_each=True)]
    return exports.latex_tables(found)


def _claims(results: Sequence[StudyResult]) -> list[Table]:
    return [claim_tables.of_claims(results)] if any(result.verdicts for result in results) else []


def _bullets(texts: Sequence[str]) -> list[str]:
    return [f"- {escapes.markdown(text)}" for text in texts]
