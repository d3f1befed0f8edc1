"""What `randhead corrupt-test` does: the chosen corruptions, on several runs, against a baseline and released sets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer

from randhead import corrupted_files, corruptions, published, robustness, runs
from randhead.cli import _own_corruption, _robustness
from randhead.cli._evaluation import load_like
from randhead.cli._output import Output, shown
from randhead.cli._signals import GracefulStop
from randhead.corruptions import frost
from randhead.datasets import Dataset
from randhead.errors import DataError, RunError, UsageError, unknown
from randhead.features import StopRequested
from randhead.files import write_json
from randhead.report import grid as report
from randhead.report import robustness as pictures
from randhead.robustness import Corrupted, Grid, Recipe
from randhead.runs import LoadedRun

SPLIT = "test"


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


def run_corrupt_test(
    names: Sequence[str | None], choice: Choice, *, baseline: str | None, root: Path, device: str, as_json: bool
) -> None:
    """Test the runs and show what came out."""
    output = Output(as_json=as_json)
    recipe, grid = resolve(choice)
    loaded = [runs.load_run(name, root=root, device=device) for name in dict.fromkeys(names)]
    reference = runs.load_run(baseline, root=root, device=device) if baseline else None
    with output.progress("reading images") as progress:
        dataset = load_like(loaded[0], None, progress)
    split = dataset.splits[SPLIT]
    ids = robustness.subset(split.labels, choice.limit, seed=choice.seed)
    for other in [*loaded[1:], *([reference] if reference else [])]:
        check_comparable(output, loaded[0], other, dataset)
    source = Corrupted(split, recipe, ids=ids)
    with GracefulStop() as stop:
        try:
            extra = write_images(output, loaded[0], source, grid, choice)
            documents = measure(output, loaded, reference, dataset.name, source, grid, choice, stop)
        except StopRequested:
            output.note("saved; the same command goes on from there")
            raise typer.Exit(stop.exit_code) from None
    files = [*extra, *[file for pair in zip(loaded, documents, strict=True) for file in keep(*pair)]]
    for document in documents:
        _robustness.show(output, document)
    output.say("\n" + "\n".join(f"report   {shown(file)}" for file in files))
    output.result({**documents[0], "others": documents[1:]})


def resolve(choice: Choice) -> tuple[Recipe, Grid]:
    """The recipe and the grid of the options.  Raises UsageError or DataError for what cannot be used."""
    if choice.parameters is not None and choice.parameters not in corruptions.SETS:
        raise unknown("parameter set", choice.parameters, corruptions.SETS)
    own, digest = {}, None
    if choice.corruption_file is not None:
        name, function, digest = _own_corruption.load(choice.corruption_file)
        own = {name: function}
    try:
        severities = [int(word) for word in _words(choice.severities)]
    except ValueError:
        raise UsageError(
            f"--severities must be numbers, got {choice.severities!r}", hint="for example --severities 1,3,5"
        ) from None
    grid = robustness.chosen(_words(choice.corruptions), severities, skip=_words(choice.skip or ""), own=tuple(own))
    textures = frost.textures(choice.frost_images) if choice.frost_images else None
    return Recipe(choice.seed, choice.parameters, textures, own, digest), grid


def check_comparable(output: Output, first: LoadedRun, other: LoadedRun, dataset: Dataset) -> None:
    """Raise RunError for a run with other classes, another image size or other test images than the first."""
    for what, ours, theirs in (
        ("classes", first.class_names, other.class_names),
        ("image size", first.image_size, other.image_size),
    ):
        if ours != theirs:
            raise RunError(
                f"run {other.run.name} has another {what} than run {first.run.name}"
                if what == "image size"
                else f"run {other.run.name} has other classes than run {first.run.name}",
                hint="compare runs on the same data, prepared alike; test others one by one",
            )
    if other.config.data == first.config.data:
        return
    with output.progress(f"reading the images of {other.run.name}") as progress:
        theirs = load_like(other, None, progress).splits[SPLIT]
    split = dataset.splits[SPLIT]
    marks = [robustness.fingerprint(part, robustness.subset(part.labels, None)) for part in (split, theirs)]
    if marks[0] != marks[1]:
        raise RunError(
            f"run {other.run.name} has other test images than run {first.run.name}",
            hint="it may have been trained on these; compare runs with the same --set data.split_seed",
        )


def write_images(output: Output, loaded: LoadedRun, source: Corrupted, grid: Grid, choice: Choice) -> list[Path]:
    """What --save and --show ask for; the files to name."""
    if choice.save is not None:
        with output.progress("writing images") as progress:
            for done, total in corrupted_files.write(choice.save, source, grid, loaded.class_names):
                progress(done, total)
    files = [choice.save] if choice.save is not None else []
    if choice.show:
        files.append(draw_sheet(loaded, source))
    return files


def draw_sheet(loaded: LoadedRun, source: Corrupted) -> Path:
    """A contact sheet of the first image tested."""
    recipe = source.recipe
    names = [*corruptions.names(), *recipe.own]
    rows = []
    for name in names:
        rows.append([image[0].cpu().numpy() for _, image in source.cells(name, corruptions.SEVERITIES, 0, 1)])
    label, described = loaded.class_names[int(source.labels[0])], recipe.describe(source.split.images.shape[1:])
    title = (
        f"image {int(source.ids[0])}, {label}; parameters of {described['parameters']} px, {described['frost']} frost"
    )
    return pictures.contact_sheet(
        loaded.run.reports / "corruptions.png",
        np.stack([np.stack(row) for row in rows]),
        [name.replace("_", " ") for name in names],
        [f"severity {s}" for s in corruptions.SEVERITIES],
        title=title,
    )


def measure(
    output: Output,
    loaded: Sequence[LoadedRun],
    reference: LoadedRun | None,
    data: str,
    source: Corrupted,
    grid: Grid,
    choice: Choice,
    stop: GracefulStop,
) -> list[dict[str, Any]]:
    """The documents of all runs, each compared with the reference, or else with the first."""
    released = [open_published(run, choice) for run in loaded] if choice.published else []
    what = f"{len(grid) - 1} corruptions of {len(source.ids)} images"
    tallies = [_robustness.fill(output, run, source, grid, what, stop) for run in loaded]
    base, base_tally = loaded[0], tallies[0]
    if reference is not None:
        base, base_tally = reference, _robustness.fill(output, reference, source, grid, what, stop)
    documents = []
    for run, tally in zip(loaded, tallies, strict=True):
        document = {
            **_robustness.describe(run, data, SPLIT, source, grid),
            "accuracy": tally.figures(robustness.CLEAN, 0)["accuracy"],
            **report.document(tally, grid, run.class_names),
        }
        if run.run != base.run:
            document["compared_with"] = report.comparison(tally, base_tally, grid, base.run.name, seed=choice.seed)
        if choice.per_class:
            document["per_class"] = report.per_class(tally, grid, source.labels, run.class_names)
        documents.append(document)
    for run, document, found in zip(loaded, documents, released, strict=False):
        document["published"] = measure_published(
            output, run, found, source, grid, choice, stop, clean_error=document["clean"]["error"]
        )
    return documents


def open_published(loaded: LoadedRun, choice: Choice) -> published.PublishedSet:
    """The released set, as the run can read it."""
    return published.open_set(choice.published, loaded.class_names, loaded.image_size, device=loaded.inputs.device)


def measure_published(
    output: Output,
    loaded: LoadedRun,
    found: published.PublishedSet,
    source: Corrupted,
    grid: Grid,
    choice: Choice,
    stop: GracefulStop,
    *,
    clean_error: float,
) -> dict[str, Any]:
    """The document of the released set, of the corruptions and severities that were asked for."""
    cells = {name: tuple(s for s in grid.get(name, ()) if s in there) for name, there in found.grid.items()}
    cells = {name: severities for name, severities in cells.items() if severities}
    if not cells:
        raise DataError(f"{found.name} has none of the corruptions asked for", hint=f"it has: {', '.join(found.grid)}")
    same = found.labels.tolist() == source.split.labels.tolist()
    found = found.take(robustness.subset(found.labels, choice.limit, seed=choice.seed))
    tally = _robustness.fill(output, loaded, found, cells, f"{len(cells)} corruptions of {found.name}", stop)
    relation = (
        "labels are those of the test split, in order: the same images"
        if same
        else "other images than the test split's"
    )
    return {
        "name": found.name,
        "folder": str(choice.published),
        "n": len(found.labels),
        "relation": relation,
        "notes": list(found.notes),
        **report.cells_document(tally, cells, loaded.class_names, clean_error=clean_error),
    }


def keep(loaded: LoadedRun, document: dict[str, Any]) -> list[Path]:
    """Write the document, its CSV and its pictures into the folder of the run."""
    stem = loaded.run.reports / "corrupt-test"
    write_json(stem.with_suffix(".json"), document)
    return [stem.with_suffix(".json"), *_robustness.keep(document, stem)]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
