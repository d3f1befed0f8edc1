"""A grid of corruptions on the command line: run it with a live table, and show, draw and keep what came out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from randhead import corruptions
from randhead.cli.output import Output, percent
from randhead.cli.signals import GracefulStop
from randhead.datasets import Split
from randhead.errors import StopRequested
from randhead.report import robustness as pictures
from randhead.robustness import documents as report
from randhead.robustness import grid as corruption_grid
from randhead.robustness.accumulator import Tally, open_tally
from randhead.robustness.grid import CLEAN, Corrupted, Grid, Recipe
from randhead.runs import LoadedRun

WORST = 5  # classes shown; the report has them all


@contextmanager
def saving(output: Output) -> Iterator[GracefulStop]:
    """A context in which a signal ends the command once what was measured is saved."""
    with GracefulStop() as stop:
        try:
            yield stop
        except StopRequested:
            output.note("saved; the same command goes on from there")
            raise typer.Exit(stop.exit_code) from None


def fill(output: Output, loaded: LoadedRun, source: Any, grid: Grid, what: str, stop: GracefulStop) -> Tally:
    """Run a grid, or what is left of it, and show how it goes.  Raises StopRequested after saving."""
    model = {
        "weights": loaded.weights_sha256,
        "device": loaded.preprocess.device.type,
        "precision": str(loaded.preprocess.precision),
    }
    tally = open_tally(loaded.run.reports, len(source.labels), {**model, **source.identity()})
    if tally.note:
        output.warn(tally.note)
    with _Display(output, f"{loaded.run.name}: {what}", grid) as display:
        for event in corruption_grid.run(loaded.model, source, grid, loaded.preprocess, tally, stop=stop):
            display.event(event)
    return tally


def describe(loaded: LoadedRun, data: str, split: str, source: Corrupted, grid: Grid) -> dict[str, Any]:
    """What was measured on what: the head of a document."""
    n, of = len(source.ids), len(source.split)
    recipe = source.recipe.describe(source.split.images.shape[1:])
    return {
        "run": loaded.run.name,
        "data": data,
        "split": split,
        "n": n,
        "images": f"all {of} images" if n == of else f"{n} of {of} images, stratified by class, seed {recipe['seed']}",
        **recipe,
        "frost": recipe["frost"] if "frost" in grid else None,
    }


def benchmark(output: Output, loaded: LoadedRun, data: str, name: str, split: Split) -> dict[str, Any]:
    """The document of the 15 corruptions at 5 severities on a split of the run's data."""
    grid = corruption_grid.chosen(["benchmark"], (1, 2, 3, 4, 5))
    source = Corrupted(split, Recipe())
    with saving(output) as stop:
        tally = fill(output, loaded, source, grid, "15 corruptions at 5 severities", stop)
    return {**describe(loaded, data, name, source, grid), **report.document(tally, grid, loaded.class_names)}


def keep(document: Mapping[str, Any], stem: Path) -> list[Path]:
    """Write the CSV and the pictures of a document: STEM.csv, STEM-heat.png, ..."""
    named = {
        suffix: stem.with_name(f"{stem.name}-{suffix}.png") for suffix in ("curves", "heat", "compared", "published")
    }
    files = [
        report.write_csv(stem.with_name(f"{stem.name}.csv"), document),
        pictures.curves(named["curves"], document),
        pictures.heat_map(named["heat"], document),
    ]
    if "compared_with" in document:
        files.append(pictures.differences(named["compared"], document))
    if "published" in document:
        files.append(pictures.published(named["published"], document))
    return files


def show(output: Output, document: Mapping[str, Any]) -> None:
    """The tables of a document, for a person."""
    frost = f"; frost: {document['frost']} texture" if document["frost"] else ""
    output.say()
    output.say(f"{document['run']}: {document['split']} split of {document['data']}", style="bold")
    output.say(f"{document['images']}; parameters of {document['parameters']} px; seed {document['seed']}{frost}")
    output.say()
    severities = sorted({int(s) for row in document["cells"].values() for s in row})
    rows = [_row(name, row, severities, document) for name, row in document["cells"].items()]
    rows.insert(0, ["clean", *[""] * len(severities), _points(document["clean"]["error"])])
    output.table("error in percent, by severity", ["corruption", *map(str, severities), "mean"], rows)
    largest = max(f["standard_error"] for row in document["cells"].values() for f in row.values())
    output.say(f"binomial standard error of a cell: at most {100 * largest:.2f}")
    output.say()
    output.table("", ["accuracy", "value", ""], _summary(document))
    if "compared_with" in document:
        _show_comparison(output, document)
    if "published" in document:
        _show_published(output, document)
    if "per_class" in document:
        _show_classes(output, document)


def _row(name: str, row: Mapping[str, Any], severities: list[int], document: Mapping[str, Any]) -> list[str]:
    errors = [f["error"] for f in row.values()]
    cells = [_points(row[str(s)]["error"]) if str(s) in row else "" for s in severities]
    return [_name(name, document), *cells, _points(sum(errors) / len(errors))]


def _name(name: str, document: Mapping[str, Any]) -> str:
    label = name.replace("_", " ")
    if name == "frost" and document["frost"] == "procedural":
        return f"{label} (procedural)"
    if name not in corruptions.names():
        return f"{label} (custom)"
    return label if name in corruptions.names("benchmark") else f"{label} (extra)"


def _summary(document: Mapping[str, Any]) -> list[list[str]]:
    clean, mean = document["clean"], document["mean_corruption_accuracy"]
    rows = [["clean", f"{percent(clean['accuracy'])} +- {100 * clean['standard_error']:.2f}", ""]]
    for group, figures in document["groups"].items():
        rows.append([group, percent(figures["accuracy"]), figures["corruptions"]])
    label = "mean over corruptions" if mean is not None else "partial mean"
    mean = document.get("partial_mean_corruption_accuracy") if mean is None else mean
    if mean is not None:
        error = document["mean_corruption_accuracy_standard_error"]
        frost = f"; {document['frost']} frost" if document["frost"] else ""
        rows.append([label, f"{percent(mean)} +- {100 * error:.2f}", f"{document['mean_over']}, unnormalised{frost}"])
    for key, title in (("mce", "mCE"), ("relative_mce", "relative mCE")):
        if "imagenet" in document:
            rows.append([title, f"{document['imagenet'][key]:.2f}", "AlexNet = 100"])
    return rows


def _show_comparison(output: Output, document: Mapping[str, Any]) -> None:
    other = document["compared_with"]
    rows = [_difference("clean", other["accuracy"])]
    if other["mean_corruption_accuracy"]:
        ratios = {"ce": _share(other["mean_ce"]), "relative_ce": _share(other["mean_relative_ce"])}
        rows.append(_difference(f"mean over {other['mean_over']}", {**other["mean_corruption_accuracy"], **ratios}))
    rows += [_difference(_name(name, document), row) for name, row in other["corruptions"].items()]
    output.say()
    output.table(
        f"against {other['run']}: accuracy in points, CE in percent of its errors",
        ["", "difference", "95 % interval", "CE", "relative CE"],
        rows,
    )
    output.say(f"intervals: {other['interval']}, {other['draws']} draws")


def _difference(label: str, row: Mapping[str, Any]) -> list[str]:
    ratios = ["" if row.get(key) is None else f"{100 * row[key]:6.1f}" for key in ("ce", "relative_ce")]
    difference, low, high = (f"{100 * row[key]:+6.2f}" for key in ("difference", "low", "high"))
    return [label, difference, f"{low} to {high}", *ratios]


def _share(value: float | None) -> float | None:
    return None if value is None else value / 100


def _show_published(output: Output, document: Mapping[str, Any]) -> None:
    theirs, ours = document["published"], document["corruptions"]
    rows = []
    for name, row in theirs["corruptions"].items():
        mine = {s: ours[name][s] for s in row if s in ours.get(name, {})}
        cells = [_points(1 - sum(values.values()) / len(values)) if values else "" for values in (row, mine)]
        label = _name(name, document).replace("(procedural)", "(ours procedural)")
        rows.append([label, *cells])
    mean = theirs["mean_corruption_accuracy"]
    mean = theirs.get("partial_mean_corruption_accuracy") if mean is None else mean
    own = document["mean_corruption_accuracy"]
    own = document.get("partial_mean_corruption_accuracy") if own is None else own
    cells = ["" if value is None else _points(1 - value) for value in (mean, own)]
    rows.append([f"mean over {theirs['mean_over']}", *cells])
    output.say()
    output.table(
        f"{theirs['name']}, {theirs['n']} images: error in percent, mean over severities",
        ["corruption", "released", "our own"],
        rows,
    )
    for note in [theirs["relation"], *theirs["notes"]]:
        output.say(note)


def _show_classes(output: Output, document: Mapping[str, Any]) -> None:
    there = {name: row for name, row in document["per_class"].items() if row["mean_corruption_accuracy"] is not None}
    hardest = sorted(there, key=lambda name: there[name]["mean_corruption_accuracy"])[:WORST]
    rows = []
    for name in hardest:
        row = there[name]
        worst = min(row["corruptions"], key=row["corruptions"].__getitem__)
        cells = [percent(row["accuracy"]), percent(row["mean_corruption_accuracy"])]
        rows.append([name, *cells, f"{worst.replace('_', ' ')} ({percent(row['corruptions'][worst])})"])
    output.say()
    output.table("hardest classes", ["class", "clean", "mean", "worst corruption"], rows)


def _points(share: float) -> str:
    """In percent, as wide as 100.0, so that points stand below each other."""
    return f"{100 * share:5.1f}"


class _Display:
    """A context that shows a grid filling up, with the time left, on stderr and on terminals only."""

    def __init__(self, output: Output, title: str, grid: Grid):
        columns = [BarColumn(), TaskProgressColumn(), TextColumn("time left"), TimeRemainingColumn()]
        self.title, self.grid = title, grid
        self.rows: dict[str, corruption_grid.RowDone] = {}
        self.bar = Progress(*columns, console=output.log)
        self.task = self.bar.add_task("", total=None)
        self.live = Live(console=output.log, transient=True, refresh_per_second=4) if output.log.is_terminal else None

    def __enter__(self) -> "_Display":
        if self.live:
            self.live.start()
            self.live.update(self._view())
        return self

    def __exit__(self, *exc: object) -> None:
        if self.live:
            self.live.stop()

    def event(self, event: corruption_grid.Event) -> None:
        """Show one event."""
        match event:
            case corruption_grid.Advanced(done, total):
                self.bar.update(self.task, completed=done, total=total)
            case corruption_grid.RowDone(name):
                self.rows[name] = event
        if self.live:
            self.live.update(self._view())

    def _view(self) -> Group:
        severities = sorted({s for row in self.grid.values() for s in row if s})
        table = Table(title=self.title, title_justify="left", box=None, pad_edge=False, header_style="dim")
        table.add_column("error in percent")
        for severity in severities:
            table.add_column(str(severity), justify="right", min_width=5)
        for name in self.grid:
            figures = self.rows[name].figures if name in self.rows else {}
            cells = [_points(figures[s]["error"]) if s in figures else "" for s in severities]
            if name == CLEAN:
                cells = [_points(figures[0]["error"]) if figures else ""]
            table.add_row(name.replace("_", " "), *cells)
        return Group(table, self.bar)
