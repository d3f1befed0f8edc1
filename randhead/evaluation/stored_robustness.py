"""The accuracy of runs under image corruptions, as `robustness.benchmark` has left it in their reports."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from randhead.evaluation import comparison
from randhead.evaluation.comparison import Comparison
from randhead.intervals import Interval
from randhead.runs import LoadedRun
from randhead.tables import Metric

NAME = "mean_corruption_accuracy"
PARTIAL = f"partial_{NAME}"
SAME = ("data", "split", "n", "images", "seed", "parameters", "frost", "mean_over")  # of measurements to be compared

ALL = "all "  # begins the words for all images of a split
WHOLE = "15 of 15 corruptions, all severities"


def documents(members: Sequence[LoadedRun], data: str, split: str) -> list[dict[str, Any]] | None:
    """The stored document of each run, all of the same images and corruptions; None if one is missing."""
    known = [_documents(run, data, split) for run in members]
    for candidate in known[0]:
        found = [next((one for one in each if _same(one, candidate)), None) for each in known]
        complete = [one for one in found if one is not None]
        if len(complete) == len(members):
            return complete
    return None


def command(members: Sequence[LoadedRun], data: str, split: str) -> str:
    """The command that measures what `documents` lacks: every run that was not measured as this command does it."""
    lacking = [run.run.name for run in members if not any(map(_is_whole, _documents(run, data, split)))]
    names = lacking or [run.run.name for run in members]  # all of them, if they still differ
    if split == "test":
        return f"`randhead corrupt-test {' '.join(names)}`"
    return "; ".join(f'`randhead eval {name}` with `split="{split}"` and `corruptions=True`' for name in names)


def metric(document: dict[str, Any]) -> Metric:
    """How the mean accuracy of a document is shown."""
    images, _, _ = str(document.get("images", ALL)).partition(", ")  # "100 of 200 images", or "all 200 images"
    over = document["mean_over"] + ("" if images.startswith(ALL) else f", {images}")
    note = document.get("parameters_note")
    meaning = f"mean over {over} of the benchmark{f'; {note}' if note else ''}"
    return Metric(f"accuracy under {over}", meaning, "higher", "%")


def value(document: dict[str, Any]) -> float:
    """The mean accuracy of a document."""
    return float(document[NAME] if document.get(NAME) is not None else document[PARTIAL])


def interval(document: dict[str, Any]) -> Interval | None:
    """The interval of the mean accuracy over images, if the document has it."""
    found = document.get(f"{NAME}_interval")
    return Interval(found["low"], found["high"], method=found["method"]) if isinstance(found, dict) else None


def compare(members: Sequence[LoadedRun], found: list[dict[str, Any]], *, baseline: int = 0) -> Comparison:
    """The accuracies of several runs by arm; a single pair has its interval over images if it was measured together."""

    def of_pair(i: int, j: int) -> Interval | None:
        for first, second, sign in ((i, j, 1), (j, i, -1)):
            compared = found[second].get("compared_with")
            if compared and compared["run"] == members[first].run.name and compared[NAME]:
                low, high = sorted(sign * compared[NAME][end] for end in ("low", "high"))
                return Interval(low, high, method="images")
        return None

    values = [{NAME: value(document)} for document in found]
    compared = comparison.compare([run.config for run in members], values, baseline=baseline)
    return comparison.with_images(compared, NAME, lambda i: interval(found[i]), of_pair)


def _documents(run: LoadedRun, data: str, split: str) -> list[dict[str, Any]]:
    """The documents of these weights on a split of a dataset, the newest first."""
    wanted = {"weights_sha256": run.weights_sha256, "data": data, "split": split}
    paths = [run.run.reports / "corrupt-test.json", run.run.reports / f"evaluate-{split}.json"]
    found = [(path.stat().st_mtime, document) for path in paths if (document := _read(path))]
    ordered = [document for _, document in sorted(found, key=lambda pair: -pair[0])]
    return [each for each in ordered if all(each.get(key) == value for key, value in wanted.items())]


def _is_whole(document: dict[str, Any]) -> bool:
    """Whether a document is what `randhead corrupt-test` measures without options."""
    all_images = str(document.get("images", ALL)).startswith(ALL)
    return (
        all_images and document["mean_over"] == WHOLE and not document.get("seed") and document.get("frost") != "folder"
    )


def _read(path: Path) -> dict[str, Any] | None:
    """A document with a mean over corruptions; None if the file has none or cannot be read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        document = document.get("robustness", document)
        _ = value(document), metric(document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return document


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one.get(key) == other.get(key) for key in SAME)
