"""What `randhead corrupt-test` does: the chosen corruptions, on several runs, against a baseline and released sets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from randhead import corruptions, runs
from randhead.cli import _robustness
from randhead.cli.output import Output
from randhead.cli.signals import GracefulStop
from randhead.datasets import Dataset
from randhead.errors import DataError, RunError, StopRequested, UsageError, unknown
from randhead.files import write_json
from randhead.report import robustness as pictures
from randhead.robustness import documents as report
from randhead.robustness import export, plugin, released
from randhead.robustness import grid as corruption_grid
from randhead.robustness.accumulator import Tally
from randhead.robustness.grid import Corrupted, Grid, Recipe
from randhead.runs import LoadedRun

SPLIT = "test"
RELATIONS = {  # of the released images to those that we corrupted, by what `released.same_images` says
    True: "the same images",
    False: "other images than those of the test split, or in another order: the columns have different images",
    None: "whether the images are those of the test split cannot be told from the corruptions that are there",
}


@dataclass(frozen=True)
class Choice:
    """The options of the command that do not name runs."""

    corruptions: str
    severities: str
    skip: str | None
    parameters: str | None
    frost_images: Path | None
    corruption_file: Path | None
    seed: int
    limit: int | None
    published: Path | None
    save: Path | None
    show: bool
    per_class: bool


@dataclass(frozen=True)
class Task:
    """What all runs are tested on, and how."""

    output: Output
    choice: Choice
    data: str
    source: Corrupted
    grid: Grid
    stop: GracefulStop


def run_corrupt_test(
    names: Sequence[str | None], choice: Choice, *, baseline: str | None, root: Path, device: str, as_json: bool
) -> None:
    """Test the runs and show what came out."""
    output = Output(as_json=as_json)
    recipe, grid = resolve(choice)
    found = [load(name, root, device) for name in names]
    loaded = list({_place(run): run for run in found}.values())
    reference = load(baseline, root, device) if baseline else loaded[0]
    if baseline and [_place(run) for run in loaded] == [_place(reference)]:
        raise UsageError(f"--baseline is the run itself, {reference.run.name}", hint="name another run")
    with output.progress("reading images") as progress:
        dataset = loaded[0].dataset(progress=progress)
    for other in (*loaded[1:], reference):
        check_comparable(output, loaded[0], other, dataset)
    split = dataset.splits[SPLIT]
    source = Corrupted(split, recipe, ids=corruption_grid.subset(split.labels, choice.limit, seed=choice.seed))
    with _robustness.saving(output) as stop:
        task = Task(output, choice, dataset.name, source, grid, stop)
        files = write_images(task, loaded[0])
        documents = measure(task, loaded, reference)
    for run, document in zip(loaded, documents, strict=True):
        files += keep(run, document)
        _robustness.show(output, document)
    output.say()
    for file in files:
        output.file(file)
    output.result({**documents[0], "others": documents[1:]})


def load(name: str | None, root: Path, device: str) -> LoadedRun:
    """A run that tells classes apart."""
    return runs.load(name, root=root, device=device).require_classes()


def resolve(choice: Choice) -> tuple[Recipe, Grid]:
    """The recipe and the grid of the options.  Raises UsageError or DataError for what cannot be used."""
    if choice.parameters is not None and choice.parameters not in corruptions.PARAMETER_SETS:
        raise unknown("parameter set", choice.parameters, corruptions.PARAMETER_SETS)
    own, digest = {}, None
    if choice.corruption_file is not None:
        name, function, digest = plugin.load(choice.corruption_file)
        own = {name: function}
    try:
        severities = [int(word) for word in _words(choice.severities)]
    except ValueError:
        raise UsageError(
            f"--severities must be numbers, got {choice.severities!r}", hint="for example --severities 1,3,5"
        ) from None
    grid = corruption_grid.chosen(
        _words(choice.corruptions), severities, skip=_words(choice.skip or ""), own=tuple(own)
    )
    frost_images = corruptions.load_frost_images(choice.frost_images) if choice.frost_images else None
    return Recipe(choice.seed, choice.parameters, frost_images, own, digest), grid


def check_comparable(output: Output, first: LoadedRun, other: LoadedRun, dataset: Dataset) -> None:
    """Raise RunError for a run with other classes, another image size or other test images than the first."""
    names = f"run {other.run.name}", f"run {first.run.name}"
    hint = "compare runs on the same data, prepared alike; test others one by one"
    if other.class_names != first.class_names:
        raise RunError(f"{names[0]} has other classes than {names[1]}", hint=hint)
    if other.image_size != first.image_size:
        sizes = f"{other.image_size} px", f"{first.image_size} px"
        raise RunError(f"{names[0]} sees images of {sizes[0]}, {names[1]} of {sizes[1]}", hint=hint)
    if other.config.data == first.config.data:
        return
    with output.progress(f"reading the images of {other.run.name}") as progress:
        theirs = other.dataset(progress=progress).splits[SPLIT]
    splits = dataset.splits[SPLIT], theirs
    marks = {corruption_grid.fingerprint(split, corruption_grid.subset(split.labels, None)) for split in splits}
    if len(marks) > 1:
        raise RunError(
            f"{names[0]} has other test images than {names[1]}, and may have been trained on these",
            hint="compare runs with the same --data and --set data.split_seed",
        )


def write_images(task: Task, loaded: LoadedRun) -> list[Path]:
    """What --save and --show ask for; the files and folders to name."""
    files = []
    if task.choice.save is not None:
        with task.output.progress("writing images") as progress:
            for done, total in export.write(task.choice.save, task.source, task.grid, loaded.class_names):
                progress(done, total)
                if task.stop():
                    raise StopRequested("stopped between two corruptions")
        files.append(task.choice.save)
    if task.choice.show:
        files.append(draw_sheet(loaded, task.source))
    return files


def draw_sheet(loaded: LoadedRun, source: Corrupted) -> Path:
    """A contact sheet of the first image tested."""
    names = [*corruptions.names(), *source.recipe.own]
    rows = [
        torch.cat([image for _, image in source.cells(name, corruptions.SEVERITIES, 0, 1)]).cpu().numpy()
        for name in names
    ]
    label, recipe = loaded.class_names[int(source.labels[0])], source.recipe.describe(source.split.images.shape[1:])
    return pictures.contact_sheet(
        loaded.run.reports / "corruptions.png",
        np.stack(rows),
        [name.replace("_", " ") for name in names],
        [f"severity {severity}" for severity in corruptions.SEVERITIES],
        title=f"image {int(source.ids[0])}, {label}; parameters of {recipe['parameters']} px, {recipe['frost']} frost",
    )


def measure(task: Task, loaded: Sequence[LoadedRun], reference: LoadedRun) -> list[dict[str, Any]]:
    """The documents of all runs, each compared with the reference."""
    # A set that does not fit is an error now, not after the grid.
    sets = [open_published(run, task.choice.published) for run in loaded] if task.choice.published else []
    tallies = {place: fill(task, run) for place, run in {_place(run): run for run in (*loaded, reference)}.items()}
    documents = []
    for run in loaded:
        tally, base = tallies[_place(run)], tallies[_place(reference)]
        document = {
            **_robustness.describe(run, task.data, SPLIT, task.source, task.grid),
            "accuracy": tally.figures(corruption_grid.CLEAN, 0)["accuracy"],
            **report.document(tally, task.grid, run.class_names),
        }
        if tally is not base:
            name = reference.run.name
            document["compared_with"] = report.comparison(tally, base, task.grid, name, seed=task.choice.seed)
        if task.choice.per_class:
            document["per_class"] = report.per_class(tally, task.grid, task.source.labels, run.class_names)
        documents.append(document)
    for run, document, found in zip(loaded, documents, sets, strict=False):
        document["published"] = measure_published(task, run, found, clean_error=document["clean"]["error"])
    return documents


def fill(task: Task, loaded: LoadedRun) -> Tally:
    """Run the grid on one run."""
    what = f"{len(task.grid) - 1} corruptions of {len(task.source.ids)} images"
    return _robustness.fill(task.output, loaded, task.source, task.grid, what, task.stop)


def open_published(loaded: LoadedRun, folder: Path) -> released.PublishedSet:
    """The released set, as the run can read it."""
    return released.open_set(folder, loaded.class_names, loaded.image_size, device=loaded.preprocess.device)


def measure_published(
    task: Task, loaded: LoadedRun, found: released.PublishedSet, *, clean_error: float
) -> dict[str, Any]:
    """The document of the released set, of the corruptions and severities that were asked for."""
    cells = {name: tuple(s for s in task.grid.get(name, ()) if s in there) for name, there in found.grid.items()}
    cells = {name: severities for name, severities in cells.items() if severities}
    if not cells:
        raise DataError(f"{found.name} has none of the corruptions asked for", hint=f"it has: {', '.join(found.grid)}")
    taken = found.take(corruption_grid.subset(found.labels, task.choice.limit, seed=task.choice.seed))
    same = released.same_images(taken, task.source)
    what = f"{len(cells)} corruptions of {found.name}"
    tally = _robustness.fill(task.output, loaded, taken, cells, what, task.stop)
    return {
        "name": found.name,
        "folder": str(task.choice.published),
        "n": len(taken.labels),
        "same_images": same,
        "relation": RELATIONS[same],
        "notes": list(found.notes),
        **report.cells_document(tally, cells, loaded.class_names, clean_error=clean_error),
    }


def keep(loaded: LoadedRun, document: dict[str, Any]) -> list[Path]:
    """Write the document, its CSV and its pictures into the folder of the run."""
    stem = loaded.run.reports / "corrupt-test"
    write_json(stem.with_suffix(".json"), document)
    return [stem.with_suffix(".json"), *_robustness.keep(document, stem)]


def _place(loaded: LoadedRun) -> Path:
    return loaded.run.path.resolve()


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
