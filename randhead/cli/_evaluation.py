"""What `randhead evaluate` does: figures, a confusion picture, and a report in the run folder."""

import heapq
from pathlib import Path
from typing import Any

from randhead import robustness, runs
from randhead.cli import grid_display
from randhead.cli.output import Output, nats, percent
from randhead.evaluation import classification
from randhead.files import write_json
from randhead.report import confusion
from randhead.runs import LoadedRun
from randhead.train import tasks

WORST = 5  # classes and confusions shown; the report has them all


def run_evaluation(
    name: str | None,
    *,
    split: str,
    data: str | None,
    ood: str | None,
    corruptions: bool,
    root: Path,
    device: str,
    as_json: bool,
) -> None:
    """Evaluate a run and show what came out."""
    output = Output(as_json=as_json)
    loaded = runs.load(name, root=root, device=device)
    if ood or corruptions:
        loaded.require_classes()
    document, benchmarked = measure(output, loaded, split=split, data=data, ood=ood, corruptions=corruptions)
    stem = "-".join(["evaluate", *([runs.slug(data)] if data else []), split])
    report = loaded.run.reports / f"{stem}.json"
    write_json(report, document)
    files = []
    if "confusion" in document:
        files.append(confusion.draw(report.with_suffix(".png"), document["confusion"], loaded.class_names))
    show(output, loaded, document)
    if "confused_pairs" in document:
        limit, count = classification.CONFUSION_CLASSES, len(document["confused_pairs"])
        output.say(f"\nno confusion matrix of more than {limit:,} classes: the report lists {count:,} confused pairs")
    if benchmarked:
        output.say()
        output.tables(benchmarked.tables())
        files += grid_display.keep(benchmarked, f"{stem}-corruptions")
    output.say()
    for file in (report, *files):
        output.file(file)
    output.result(document)


def measure(
    output: Output,
    loaded: LoadedRun,
    *,
    split: str,
    data: str | None,
    ood: str | None,
    corruptions: bool,
) -> tuple[dict[str, Any], robustness.CorruptionReport | None]:
    """All figures, as the JSON document."""
    benchmarked = None
    with output.progress("reading images") as progress:
        dataset = loaded.dataset(data, progress=progress)
    loaded.check_classes(dataset)
    document = {
        "run": loaded.run.name,
        "data": dataset.name,
        "split": split,
        "class_names": list(loaded.class_names),
        **tasks.of(loaded.config, dataset).evaluate(loaded.model, split, loaded.preprocess, stop=lambda: False),
    }
    if ood:
        with output.progress("reading other images") as progress:
            strange = loaded.dataset(ood, progress=progress)
        scores = classification.out_of_distribution(
            loaded.model, dataset.splits[split], strange.splits["test"], loaded.preprocess
        )
        document["ood"] = {"data": strange.name, "split": "test", "n": len(strange.splits["test"]), **scores}
    if corruptions:
        with grid_display.saving(output) as should_stop, grid_display.GridDisplay(output) as display:
            benchmarked = robustness.benchmark(
                loaded, split=split, data=dataset, should_stop=should_stop, warn=output.warn, on_event=display.event
            )
        document |= benchmarked.for_evaluation()
    return document, benchmarked


def show(output: Output, loaded: LoadedRun, document: dict[str, Any]) -> None:
    """The figures for a person."""
    output.say(f"{loaded.run.name}\n")
    title = f"{document['split']} split of {document['data']}, n = {document['n']}"
    rows = [
        ["accuracy", f"{percent(document['accuracy'])} +- {100 * document['accuracy_standard_error']:.2f}"],
        ["top-5 accuracy", percent(document.get("top5_accuracy"))],
        ["accuracy of the nearest neighbour", percent(document.get("knn_1"))],
        ["NLL", nats(document["nll"])],
        ["ECE, 15 bins of equal width", percent(document["ece"])],
        ["ECE, 15 bins of equal mass", percent(document.get("ece_equal_mass"))],
    ]
    output.table(title, ["figure", "value"], [row for row in rows if row[1]])
    if "diagnostics" in document:
        _show_diagnostics(output, document["diagnostics"])
        _show_classes(output, loaded.class_names, document)
    if "ood" in document:
        scores = {name: document["ood"][name] for name in classification.OOD_SCORES}
        rows = [[name.replace("_", " "), s["auroc"], percent(s["fpr_at_95_recall"])] for name, s in scores.items()]
        output.say()
        output.table(f"against {document['ood']['data']}", ["score", "AUROC", "FPR at 95 % recall"], rows)


def _show_diagnostics(output: Output, diagnostics: dict[str, dict[str, float | None]]) -> None:
    rows = [[name.replace("_", " "), sides["right"], sides["wrong"]] for name, sides in diagnostics.items()]
    output.say()
    output.table("means over answers", ["", "right", "wrong"], rows)


def _show_classes(output: Output, names: tuple[str, ...], document: dict[str, Any]) -> None:
    """The classes that do worst, with what they are taken for."""
    known = [(accuracy, k) for k, accuracy in enumerate(document["per_class_accuracy"]) if accuracy is not None]
    rows = []
    for accuracy, k in heapq.nsmallest(WORST, known):
        count, other = max(_confused(document, k), default=(0, 0), key=lambda pair: pair[0])
        rows.append([names[k], percent(accuracy), f"{names[other]} ({count})" if count else ""])
    output.say()
    output.table("hardest classes", ["class", "accuracy", "most often taken for"], rows)


def _confused(document: dict[str, Any], label: int) -> list[tuple[int, int]]:
    """How often images of a class were taken for another, and for which: (count, class), by class."""
    if "confusion" in document:
        return [(count, k) for k, count in enumerate(document["confusion"][label]) if k != label]
    return [(count, k) for own, k, count in document["confused_pairs"] if own == label]
