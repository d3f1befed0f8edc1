"""What `randhead predict` does: read images, score them, print a table, CSV or JSON."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from randhead import datasets, runs
from randhead.cli.output import Output, percent
from randhead.errors import DataError, DataFileError, UsageError
from randhead.evaluation import features
from randhead.runs import LoadedRun


def run_prediction(
    name: str,
    paths: list[Path],
    *,
    k: int,
    as_csv: bool,
    as_json: bool,
    skip_bad_images: bool,
    root: Path,
    device: str,
) -> None:
    """Predict the classes of images and print them."""
    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other", hint="choose one")
    output = Output(as_json=as_json or as_csv)
    loaded = runs.load(name, root=root, device=device).require_classes()
    files = [file for path in paths for file in find_images(path)]
    lines = list(predict(output, loaded, files, k=min(k, len(loaded.class_names)), skip_bad_images=skip_bad_images))
    if as_json:
        output.result({"run": loaded.run.name, "predictions": lines})
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["image", "rank", "class", "probability", "cosine"])
        writer.writerows(_rows(lines))
    else:
        shown = [[image, rank, label, percent(p), cosine] for image, rank, label, p, cosine in _rows(lines)]
        output.table("", ["image", "rank", "class", "probability", "cosine"], shown)


def find_images(path: Path) -> list[Path]:
    """The image files at a path, sorted.  Raises DataError where there are none."""
    if path.is_dir():
        files = datasets.image_files(path)
        if not files:
            raise DataError(f"{path} has no images", hint="give image files, or a folder of them")
        return files
    if not path.exists():
        raise DataFileError(f"{path}: no such file", hint="give image files, or folders of them")
    return [path]


def predict(
    output: Output, loaded: LoadedRun, files: list[Path], *, k: int, skip_bad_images: bool
) -> Iterator[dict[str, Any]]:
    """One line an image: its k best classes, best first."""
    size = features.batch_size(loaded.image_size)
    for start in range(0, len(files), size):
        readable, images = [], []
        for file in files[start : start + size]:
            try:
                images.append(datasets.read_image(file, loaded.image_size))
                readable.append(file)
            except DataError as error:
                if not skip_bad_images:
                    raise
                output.warn(f"{error.message}; left out")
        if images:
            yield from _score(loaded, readable, torch.stack(images), k)


def _score(loaded: LoadedRun, files: list[Path], images: torch.Tensor, k: int) -> Iterator[dict[str, Any]]:
    embedded, head = features.embed(loaded.model, images, loaded.preprocess), loaded.model.head
    answers, rows = head.output(embedded, k=k), head.rows()
    columns = zip(files, embedded, answers.classes, answers.probabilities, strict=True)
    for file, feature, classes, probabilities in columns:
        cosines = torch.cosine_similarity(feature[None], rows.gather(classes).detach())
        best = zip(classes.tolist(), probabilities.tolist(), cosines.tolist(), strict=True)
        named = [{"class": loaded.class_names[k], "probability": p, "cosine": cosine} for k, p, cosine in best]
        yield {"image": str(file), "classes": named}


def _rows(lines: list[dict[str, Any]]) -> Iterator[list[Any]]:
    for line in lines:
        for rank, answer in enumerate(line["classes"], start=1):
            yield [line["image"], rank, answer["class"], answer["probability"], answer["cosine"]]
