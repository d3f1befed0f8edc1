"""What `randhead analyze` does: figures, pictures, and for `all` a page, in the reports of the first run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from randhead import runs
from randhead.cli.output import Output
from randhead.errors import DataError, UsageError
from randhead.evaluation import analysis
from randhead.evaluation.analysis import ALL, Measured, Results
from randhead.evaluation.comparison import compare
from randhead.evaluation.inputs import OneRun, View
from randhead.evaluation.session import Library
from randhead.files import atomic_write, sha256, write_json
from randhead.report import canvas, page, sections
from randhead.report.sections import words


def run_analysis(name: str, names: list[str], *, view: View, root: Path, device: str, as_json: bool) -> None:
    """Analyze runs and show what came out."""
    wanted = analysis.chosen(name)
    output = Output(as_json=as_json)
    with output.progress("reading images") as progress:
        library = Library(root=root, device=device, warn=output.warn, progress=progress)
        members = open_runs(library, names, view)
        if name == ALL:
            members = [own_images(output, run) for run in members]
        results = analysis.examine(wanted, members, strict=name != ALL)
    comparison = compare_runs(results)
    document = describe(results, comparison, view)
    stem = reports_stem(name, members, view)
    files = write_reports(name, stem, results, comparison, document)
    show(output, results, comparison)
    output.say()
    for path in files:
        output.file(path)
    output.result(document)


def open_runs(library: Library, names: list[str], view: View) -> list[OneRun]:
    """The runs of the command line, or the latest.  Raises UsageError for one that is there twice."""
    members = [OneRun(library, library.run(name), view) for name in names or [None]]
    folders = [run.loaded.run.path.resolve() for run in members]
    for folder in folders:
        if folders.count(folder) > 1:
            raise UsageError(f"run {folder.name} is given twice", hint="give different runs")
    return members


def own_images(output: Output, run: OneRun) -> OneRun:
    """The run on its own images, where those of --data have other classes: then they are for transfer alone."""
    try:
        _ = run.dataset
    except DataError as error:
        if run.view.data is None:
            raise
        output.note(f"{error.message}: they are used for transfer, the run's own images for the rest")
        return OneRun(run.library, run.loaded, replace(run.view, data=None))
    return run


def compare_runs(results: Results) -> dict[str, dict[str, Any]]:
    """Analysis -> its figures side by side, where there are several runs."""
    if len(results.members) == 1:
        return {}
    configs = [run.loaded.config for run in results.members]
    return {
        name: compare(configs, [found[name].findings.figures for found in results.each]) for name in results.each[0]
    }


def describe(results: Results, comparison: dict[str, dict[str, Any]], view: View) -> dict[str, Any]:
    """The JSON document: `run` and its figures, or `runs`, `comparison` and the figures of all together."""
    asked = {"split": view.split}
    extras = {"data": view.data, "reference": view.reference, "taxonomy": view.taxonomy and str(view.taxonomy)}
    asked |= {key: value for key, value in extras.items() if value is not None} | {"seed": view.seed}
    each = [_described(run, found) for run, found in zip(results.members, results.each, strict=True)]
    refused = {"not_applicable": results.refused} if results.refused else {}
    if len(each) == 1:
        [only] = each
        return {"run": only.pop("run"), **asked, **only, **refused}
    together = _findings(results.together)
    return {"runs": each, **asked, "comparison": comparison, **together, **refused}


def _described(run: OneRun, found: dict[str, Measured]) -> dict[str, Any]:
    return {"run": run.loaded.run.name, **_findings(found)}


def _findings(found: dict[str, Measured]) -> dict[str, Any]:
    figures = {name: measured.findings.figures for name, measured in found.items()}
    notes = {name: list(measured.findings.notes) for name, measured in found.items() if measured.findings.notes}
    if not found:
        return {}
    return {**figures, "seen": {name: measured.seen for name, measured in found.items()}, "notes": notes}


def reports_stem(name: str, members: list[OneRun], view: View) -> Path:
    """Where reports go, without an ending: in the first run's folder; several runs have a name of their own."""
    parts = ["analyze", name, *([runs.slug(view.data)] if view.data else []), view.split]
    if len(members) > 1:
        together = "\n".join(str(run.loaded.run.path.resolve()) for run in members)
        parts += [f"{len(members)}runs", sha256(together.encode())[:6]]
    return members[0].loaded.run.reports / "-".join(parts)


def write_reports(
    name: str, stem: Path, results: Results, comparison: dict[str, dict[str, Any]], document: dict[str, Any]
) -> list[Path]:
    """Write the document, and the page for `all` or else the pictures.  Returns their paths."""
    write_json(stem.with_name(f"{stem.name}.json"), document)
    files = [stem.with_name(f"{stem.name}.json")]
    if name == ALL:
        plain = stem.name.removeprefix("analyze-all")
        path = stem.with_name("report.html" if plain == "-test" else f"report{plain}.html")
        atomic_write(path, page.render(results, comparison))
        return [*files, path]
    for i, (run, found) in enumerate(zip(results.members, results.each, strict=True)):
        ending = f"-{i + 1}" if len(results.members) > 1 else ""
        files += _draw(stem, found, run.loaded.class_names, ending)
    return files + _draw(stem, results.together, tuple(run.loaded.run.name for run in results.members), "")


def _draw(stem: Path, found: dict[str, Measured], names: tuple[str, ...], ending: str) -> list[Path]:
    files = []
    for name, measured in found.items():
        for picture in sections.pictures(name, measured.findings, names):
            path = stem.with_name(f"{stem.name}-{picture.name}{ending}.png")
            files.append(canvas.png(picture.figure, path))
    return files


def show(output: Output, results: Results, comparison: dict[str, dict[str, Any]]) -> None:
    """Short tables for a person, with the notes."""
    several = len(results.members) > 1
    if several:
        for letter, run in zip(page.LETTERS, results.members, strict=False):
            output.say(f"{letter}  {run.loaded.run.name}")
    else:
        output.say(results.members[0].loaded.run.name)
    for name in sections.in_order(results.each[0]):
        measured = [found[name] for found in results.each]
        _show_figures(output, name, name, measured)
        if several:
            _show_comparison(output, comparison[name], sections.headlines(name, measured[0].findings))
        _show_notes(output, [note for one in measured for note in one.findings.notes])
    for name, measured in results.together.items():
        _show_figures(output, f"{name} of all runs", name, [measured])
        _show_notes(output, measured.findings.notes)
    if results.refused:
        output.say()
    for name, reason in results.refused.items():
        output.say(f"{name}: not measured, {reason}", style="dim")


def _show_figures(output: Output, title: str, name: str, measured: list[Measured]) -> None:
    seen = measured[0].seen
    where = f"{seen['split']} split of {seen['data']}, n = {seen['n']}" if "n" in seen else f"{seen['epochs']} epochs"
    chosen = sections.headlines(name, measured[0].findings)
    rows = [[words(key), *(one.findings.figures.get(key) for one in measured)] for key in chosen]
    rows = [row for row in rows if any(value is not None for value in row[1:])]
    columns = ["value"] if len(measured) == 1 else list(page.LETTERS[: len(measured)])
    output.say()
    output.table(f"{title}: {where}", ["figure", *columns], rows)


def _show_comparison(output: Output, found: dict[str, Any], chosen: dict[str, Any]) -> None:
    """Differences from the first arm; or, of a single arm, its means."""
    if found["differences"]:
        for arm in found["differences"]:
            rows = [_row(key, arm["figures"][key], "difference") for key in chosen if key in arm["figures"]]
            if not rows:
                continue
            title = f"{arm['arm']} less {arm['minus']}, {arm['pairs']} pairs of equal seeds"
            output.say()
            output.table(title, ["figure", "difference", "95 % low", "high"], rows)
    else:
        figures = found["arms"][0]["figures"]
        rows = [_row(key, figures[key], "mean") for key in chosen if key in figures]
        title = f"mean of {len(found['arms'][0]['runs'])} runs"
        output.say()
        output.table(title, ["figure", "mean", "95 % low", "high"], rows)
    _show_notes(output, found["notes"])


def _row(key: str, figure: dict[str, Any], kind: str) -> list[Any]:
    return [words(key), figure[kind], *(figure["interval"] or (None, None))]


def _show_notes(output: Output, notes: Any) -> None:
    for note in dict.fromkeys(notes):
        output.say(f"note: {note}", style="yellow")
