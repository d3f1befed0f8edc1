"""Merging: results of studies from JSON files; parts of one study that were made on several machines become one.

Parts have an equal `Study.identity`: they differ in seeds, claims and texts.  Everything is computed again from the
records of all parts, so that the result is that of one machine, to the last digit.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from randhead.errors import RunError
from randhead.files import described, write_json
from randhead.study.design import Study
from randhead.study.records import RunRecord
from randhead.study.result import FILE, FORMAT, HINT, StudyResult, check_format
from randhead.tables import Table

NOT_COMPARED = ("run", "seconds", "environment")  # of two records of the same run


@dataclass(frozen=True)
class _Part:
    """A result and the file that it was read from."""

    source: str
    result: StudyResult


def merge(paths: Iterable[str | Path]) -> tuple[StudyResult, ...]:
    """The studies in some files, in order; parts of one study become one.

    Seeds of the parts are united, and claims that only later parts have are appended; texts are those of the first, and
    so are the numbers of a sweep that several parts have run.

    Args:
        paths: result.json of studies, folders with one, or files that `save` wrote.

    Raises:
        RunError: for a file that cannot be read or is no result of a study, for a run that is in two files with
            different numbers, for parts of a study with different images or tuned settings, and for two studies of one
            name, which tables and files could not tell apart.
    """
    groups: list[list[_Part]] = []
    for part in (part for path in paths for part in _read(Path(path))):
        identity = part.result.study.identity()
        known = next((group for group in groups if group[0].result.study.identity() == identity), None)
        if known is None:
            groups.append([part])
        else:
            known.append(part)
    _check_names([group[0] for group in groups])
    return tuple(_united(group) for group in groups)


def document(results: Sequence[StudyResult]) -> dict[str, Any]:
    """The document of one or several studies, which `merge` reads."""
    if len(results) == 1:
        return results[0].to_json()
    return {"format": FORMAT, "studies": [result.to_json() for result in results]}


def save(results: Sequence[StudyResult], folder: Path) -> Path:
    """Write the document of some studies into a folder, as result.json.

    Returns:
        The path of the file.
    """
    path = Path(folder) / FILE
    write_json(path, document(results))
    return path


def tables(results: Sequence[StudyResult]) -> Iterator[Table]:
    """The tables of one or several studies; the claims of several are in one table, the first.

    Args:
        results: as `merge` returns them.
    """
    from randhead.study import design_tables
    from randhead.study.claim_tables import named, of_claims
    from randhead.study.tables import of_study

    if len(results) == 1:
        yield from results[0].tables()
        return
    if any(result.verdicts for result in results):
        yield of_claims(results, beside=False)
    for result in results:
        for table in (*of_study(result), design_tables.notes(result)):
            yield named(result, table)


def _read(path: Path) -> list[_Part]:
    """The results in a file, or in the result.json of a folder."""
    file = path / FILE if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refused)
    except OSError as error:
        hint = "run the study first: it writes this file" if path.is_dir() else HINT
        raise RunError(described(error), hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{file} is not complete JSON: {error}", hint="copy the file again") from error
    several = isinstance(content, Mapping) and isinstance(content.get("studies"), list)
    if several:
        check_format(content, str(file))
    documents = content["studies"] if several else [content]
    if not documents:
        raise RunError(f"{file} has the results of no study", hint=HINT)
    return [_Part(str(file), StudyResult.from_json(each, source=str(file))) for each in documents]


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _united(parts: Sequence[_Part]) -> StudyResult:
    """One study of its parts."""
    first, *others = parts
    if not others:
        return first.result
    _check_arms(parts)
    records = _records(parts, "records")
    sweep = _records(parts, "sweep")
    return StudyResult(_design([part.result.study for part in parts]), records, sweep)


def _design(studies: Sequence[Study]) -> Study:
    """The design with the seeds of all parts, and claims that the first does not have."""
    first = studies[0]
    claims = {claim.text: claim for study in reversed(studies) for claim in study.claims}
    ordered = dict.fromkeys(claim.text for study in studies for claim in study.claims)
    seeds = sorted({seed for study in studies for seed in study.seeds})
    heads = None if first.head_seeds is None else tuple(sorted({h for each in studies for h in each.head_seeds or ()}))
    return replace(first, seeds=tuple(seeds), head_seeds=heads, claims=tuple(claims[text] for text in ordered))


def _records(parts: Sequence[_Part], name: str) -> tuple[RunRecord, ...]:
    """The records of all parts, each run once."""
    found: dict[Any, tuple[str, RunRecord]] = {}
    for part in parts:
        for record in getattr(part.result, name):
            key = (record.arm, record.head_seed, record.seed, json.dumps(dict(record.tuned), sort_keys=True))
            source, known = found.setdefault(key, (part.source, record))
            if not record.tuning and known is not record and (different := _different(known, record)):
                raise RunError(
                    f"{source} and {part.source} have different numbers of the same run, {record.run}: "
                    f"{', '.join(different)}",
                    hint="leave out one of the two files, or give the parts different seeds",
                )
    return tuple(record for _, record in found.values())


def _different(first: RunRecord, second: RunRecord) -> list[str]:
    """The names of what is different in two records of the same run."""
    names = [each.name for each in fields(RunRecord) if each.name not in NOT_COMPARED]
    return [name for name in names if getattr(first, name) != getattr(second, name)]


def _check_names(studies: Sequence[_Part]) -> None:
    """Refuse different studies of one name, most likely parts of a study of which one was changed."""
    known: dict[str, _Part] = {}
    for part in studies:
        first = known.setdefault(part.result.study.name, part)
        if first is not part:
            raise RunError(
                f"{first.source} and {part.source} are both of a study {part.result.study.name}, but differ in "
                f"{', '.join(_changed(first.result.study.identity(), part.result.study.identity()))}",
                hint='parts of a study differ in seeds only; another study needs another "name", an entry of its file',
            )


def _changed(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """The names of the entries in which two designs differ; of settings, their dotted names."""
    keys = [key for key in first if first[key] != second[key] and key != "settings"]
    settings = dict.fromkeys((*first["settings"], *second["settings"]))
    return [*keys, *(key for key in settings if first["settings"].get(key) != second["settings"].get(key))]


def _check_arms(parts: Sequence[_Part]) -> None:
    """Refuse parts whose runs of an arm have different images or tuned settings."""
    seen: dict[str, tuple[str, RunRecord]] = {}
    for part in parts:
        for record in part.result.records:
            source, known = seen.setdefault(record.arm, (part.source, record))
            if known.images != record.images:
                raise RunError(
                    f"{source} and {part.source} have different images: runs {known.run} and {record.run}",
                    hint="only runs of the same images, labels and splits are compared",
                )
            if dict(known.tuned) != dict(record.tuned):
                raise RunError(
                    f"{source} and {part.source} have different tuned settings of {record.arm}: {dict(known.tuned)} "
                    f"and {dict(record.tuned)}",
                    hint="tune once, and train all seeds with what was chosen",
                )
