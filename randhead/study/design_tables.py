"""Tables on how a study was made: its tuning, and its design."""

from collections.abc import Iterable, Iterator
from pathlib import PurePath
from statistics import fmean
from typing import TYPE_CHECKING, Any

from randhead.evaluation.shown import percent_shown
from randhead.study import tuning
from randhead.study.design import DATA
from randhead.tables import Cell, Table, count, rows

if TYPE_CHECKING:
    from randhead.study.records import RunRecord
    from randhead.study.result import StudyResult

CHOSEN = "chosen"
OF_HEADS = ("head.", "optim.")  # settings of arms that change neither the network nor the batches
IN_ORDER = ("train", "val", "test", "corrupted")


def sweep(result: "StudyResult") -> Table:
    """The runs that chose the tuned settings: every combination of every arm on the validation split."""
    study = result.study
    if not study.tune:
        return Table(
            "tuning",
            (),
            (),
            (f"nothing was tuned: all arms have the settings of the recipe `{recipe(result)}`, but for their own",),
        )
    choices = tuning.choices(study, result.sweep)
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in result.sweep:
        groups.setdefault((record.arm, combination(record.tuned)), []).append(record)
    cells: list[list[Cell]] = []
    for (arm, words), records in groups.items():
        is_chosen = arm in choices and combination(choices[arm]) == words
        diverged = sum(bool(record.diverged) for record in records)
        means = ("diverged", None) if diverged else (percent_shown(_mean(records, "accuracy")), _mean(records, "nll"))
        cells.append([arm, words, *means, len(records), CHOSEN if is_chosen else ""])
    planned = study.number_of_tuning_runs
    said = [f"every arm was trained with the same combinations and {_seeds('seed', study.tune_seeds)}, not reported"]
    said += [f"{len(result.sweep)} of {count(planned, 'run')} done"] if len(result.sweep) < planned else []
    said += [
        f"{', '.join(names)}: the chosen {key} is the smallest or the largest that was tried; others beyond it may be "
        "better"
        for key, names in tuning.at_the_end(study, choices).items()
    ]
    columns = ("arm", "settings", "val. accuracy (%)", "val. NLL", "runs", "")
    return Table("tuning on the validation split", columns, rows(cells), tuple(said)).without_empty_columns()


def notes(result: "StudyResult") -> Table:
    """What was trained: data, images, settings, seeds and devices, and the settings of each arm."""
    of_arms = (f"{name}: {own}" for name, own in arms(result).rows)
    return Table("design", (), (), (*conditions(result), *of_arms))


def arms(result: "StudyResult") -> Table:
    """The settings in which each arm differs from the others."""
    study = result.study
    cells = [
        (
            f"{arm.name} (control)" if arm.name == study.control else arm.name,
            combination(arm.settings) or "nothing else",
        )
        for arm in study.arms
    ]
    return Table("arms", ("arm", "settings"), rows(cells))


def conditions(result: "StudyResult") -> Iterator[str]:
    """What all arms have in common: data, images, settings, seeds and devices."""
    study = result.study
    yield f"{len(result.records)} of {count(result.planned, 'run')} done"
    counts = _common([dict(record.counts) for record in result.records])
    images = ", ".join(f"{counts[key]:,} {key}" for key in IN_ORDER if key in counts)
    classes = f", {count(counts['classes'], 'class')}" if "classes" in counts else ""
    data = PurePath(str(study.common.get("data.name", DATA))).name
    yield f"data: {data}{f'; images: {images}' if images else ''}{classes}"
    yield f"all arms: recipe {recipe(result)}{_others(study.common)}"
    heads = f", each with {_seeds('head seed', study.head_seeds)}" if study.head_seeds is not None else ""
    changed = any(not key.startswith(OF_HEADS) for arm in study.arms for key in arm.settings)
    yield (
        f"{_seeds('seed', study.seeds)}{heads}; with a seed, all arms have the same initial weights, batches and "
        "crops, and those of one geometry the same initial class vectors"
        f"{', unless their own settings change that' if changed else ''}"
    )
    if len({record.images for record in result.records}) > 1:
        yield "not all arms have the same images: settings of the data are among what makes an arm"
    environments = [dict(record.environment) for record in result.records]
    keys = dict.fromkeys(key for each in environments for key in each)
    used = {key: sorted({str(each[key]) for each in environments if key in each}) for key in keys}
    machine = "; ".join(f"{key}: {', '.join(values)}" for key, values in used.items())
    yield f"{count(study.threads, 'thread')} per training{f'; {machine}' if machine else ''}"
    yield from (text for text in (study.differs and f"differs from the source: {study.differs}", study.cost) if text)


def recipe(result: "StudyResult") -> str:
    """The name of the recipe of a study."""
    return str(result.study.common["recipe"])


def combination(tuned: Any) -> str:
    """Tuned settings in words: "optim.lr = 0.1"."""
    return ", ".join(f"{key} = {value}" for key, value in tuned.items())


def _mean(records: "Iterable[RunRecord]", key: str) -> float | None:
    values = [value for record in records if (value := record.val.get(key)) is not None]
    return fmean(values) if values else None


def _others(settings: Any) -> str:
    """The settings of all arms without the data and the recipe."""
    found = [f"{key} = {value}" for key, value in settings.items() if key not in ("recipe", "data.name")]
    return f"; {', '.join(found)}" if found else ""


def _common(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """The entries that are equal in all documents."""
    first = documents[0] if documents else {}
    return {key: value for key, value in first.items() if all(each.get(key) == value for each in documents)}


def _seeds(noun: str, seeds: Iterable[int]) -> str:
    """Seeds in words: "seeds 0 to 4", "seed 7", "seeds 1, 5"."""
    found = list(seeds)
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"{noun}s {found[0]} to {found[-1]}"
    return f"{noun}{'s' if len(found) > 1 else ''} {', '.join(map(str, found))}"
