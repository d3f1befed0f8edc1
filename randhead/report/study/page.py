"""The HTML page of one or several studies: verdicts, pictures, tables, every run, and how to repeat it."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from randhead.evaluation.analysis_tables import glossary
from randhead.report import frame
from randhead.report.frame import Block, Chapter, ClaimRow, drawings
from randhead.report.sections import Picture
from randhead.report.study import pictures, words
from randhead.report.study.pictures import Styles
from randhead.report.study.styles import styles
from randhead.study import claim_tables, design_tables, metrics, tables
from randhead.study.records import RunRecord
from randhead.study.result import StudyResult
from randhead.tables import ARROWS, Cell, Table, capitalised, count, rows


def render(results: Sequence[StudyResult]) -> str:
    """The page of one or several studies, in which an arm of a name has the same colour everywhere."""
    of_arms, title = styles(results), words.title(results)
    if len(results) == 1:
        [result] = results
        blocks = [_claims([ClaimRow(verdict) for verdict in result.verdicts]), *_blocks(result, of_arms, "")]
        return frame.render(title, words.summary(result), [Chapter(blocks)])
    claims, chapters = [], []
    for i, result in enumerate(results, 1):
        name, anchor = result.study.name, f"study-{i}"
        claims += [ClaimRow(verdict, name, anchor) for verdict in result.verdicts]
        lines = [result.study.title, *words.summary(result)]
        chapters.append(Chapter(list(_blocks(result, of_arms, f"{anchor} ")), name, lines, anchor))
    names = ", ".join(result.study.name for result in results)
    return frame.render(title, [names], [Chapter([_claims(claims), _reading(results)]), *chapters])


def _claims(found: list[ClaimRow]) -> Block:
    """The verdicts of all claims, and how they are made."""
    said = ". ".join(map(capitalised, claim_tables.MEANING)) if found else "No claim was tested"
    return Block("claims", seen=f"{said}.", claims=found)


def _blocks(result: StudyResult, of_arms: Styles, prefix: str) -> Iterator[Block]:
    """The parts of a study after its claims."""
    drawn = [
        _paired(result, of_arms, prefix),
        _figures("training", prefix, "training", pictures.curves(result, of_arms)),
    ]
    if any(record.corruptions for record in result.records):
        severities = _figures("corruptions", prefix, "corruptions", pictures.severities(result, of_arms))
        drawn.append(replace(severities, folded=[_by_corruption(result)]))
    yield from (block for block in drawn if block.pictures)
    tuning = design_tables.sweep(result)
    figures = [table for table in tables.of_study(result) if table.rows and table.title != tuning.title]
    if figures:
        yield Block("means and differences", prefix, tables=figures)
    if tuning.rows:
        yield Block("tuning", prefix, tables=[replace(tuning, title="")])
    if result.records or result.sweep:
        yield _runs(result, prefix)
    if not prefix:
        yield _reading([result])
    yield _repeating(result, prefix)


def _paired(result: StudyResult, of_arms: Styles, prefix: str) -> Block:
    """Every metric, with how its pictures are read."""
    without = sum(bool(record.diverged) for record in result.records)
    lacking = f" {count(without, 'run')} diverged and {'has' if without == 1 else 'have'} no values." if without else ""
    lead = (
        "Above: a thin line connects runs with the same seeds, and beside them are means with 95 % intervals. Below: "
        f"paired differences from {result.study.control} (hollow) with 95 % intervals.{lacking}"
    )
    block = _figures("every metric, paired by seed", prefix, "paired", pictures.paired(result, of_arms))
    return replace(block, lead=lead)


def _figures(title: str, prefix: str, owner: str, found: Iterable[Picture]) -> Block:
    return Block(title, prefix, pictures=drawings(found, prefix + owner))


def _by_corruption(result: StudyResult) -> Table:
    """The mean accuracy of each arm under each corruption, over severities and runs."""
    arms = result.by_arm
    names = dict.fromkeys(name for records in arms.values() for run in records for name in run.corruptions)
    cells = [[name.replace("_", " "), *(_mean_accuracy(records, name) for records in arms.values())] for name in names]
    return Table("Mean accuracy (%) of each arm under each corruption", ("corruption", *arms), rows(cells))


def _mean_accuracy(records: Sequence[RunRecord], corruption: str) -> float | None:
    known = [value for run in records for value in run.corruptions.get(corruption, ()) if value is not None]
    return 100 * fmean(known) if known else None


def _runs(result: StudyResult, prefix: str) -> Block:
    """Every run with the name of its folder; the runs of the sweep folded."""
    columns = ("run", "arm", "head seed", "seed", "settings", "accuracy (%)", "seconds", "")
    table, sweep = (
        Table(title, columns, rows(map(_run, records))).without_empty_columns()
        for title, records in (("", result.records), ("Runs of the tuning, with validation accuracy", result.sweep))
    )
    lead = "The name of a run is that of its folder in the folder `runs` of the study."
    return Block("every run", prefix, lead=lead, tables=[table], folded=[sweep])


def _run(record: RunRecord) -> list[Cell]:
    accuracy = record.val.get("accuracy") if record.tuning else record.metrics.get("accuracy")
    failed = f"diverged: {record.diverged}" if record.diverged else ""
    if not failed and record.metrics.get("converged") == 0:
        failed = "no better than chance"
    shown = None if accuracy is None or record.diverged else 100 * accuracy
    settings = design_tables.combination(record.tuned)
    return [f"`{record.run}`", record.arm, record.head_seed, record.seed, settings, shown, record.seconds, failed]


def _reading(results: Sequence[StudyResult]) -> Block:
    """How verdicts and differences are meant, and what the metrics are."""
    keys = [key for key in metrics.METRICS if any(key in result.keys for result in results)]
    definitions = glossary([metrics.about(key) for key in keys], title="Definitions of the metrics")
    return Block("how to read it", lead=" ".join(words.READING), seen=f"{capitalised(ARROWS)}.", folded=[definitions])


def _repeating(result: StudyResult, prefix: str) -> Block:
    """The command that repeats the study, and its whole design."""
    name = result.study.name
    lead = f"Save the design below as {name}/study.json, and run: `randhead study {name}`"
    design = json.dumps(result.study.to_json(), indent=2, ensure_ascii=False)
    return Block(
        "how to repeat it", prefix, lead=lead, tables=[design_tables.arms(result)], files={f"{name}/study.json": design}
    )
