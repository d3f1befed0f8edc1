"""`predict`: the most probable classes of image files."""

import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from randhead import ambient, datasets, runs
from randhead.arguments import check_functions, check_paths, several, whole
from randhead.errors import DataError, DataFileError, StopRequested
from randhead.evaluation import features
from randhead.files import write_json
from randhead.runs import ROOT, LoadedRun, Run, RunLike
from randhead.tables import Result, Table, percent

COLUMNS = ("image", "rank", "class", "probability", "cosine")


@dataclass(frozen=True)
class ClassPrediction:
    """One class of an image: its probability, and the cosine of the feature vector and its class vector."""

    name: str
    probability: float
    cosine: float

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {"class": self.name, "probability": self.probability, "cosine": self.cosine}


@dataclass(frozen=True)
class ImagePrediction:
    """The most probable classes of one image, best first."""

    image: str
    classes: tuple[ClassPrediction, ...]

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {"image": self.image, "classes": [found.to_json() for found in self.classes]}


@dataclass(frozen=True)
class Predictions(Result):
    """The most probable classes of images, in the order in which the images were given."""

    run: str
    images: tuple[ImagePrediction, ...]

    def to_json(self) -> dict[str, Any]:
        """The document of `randhead predict --json`."""
        return {"run": self.run, "predictions": [image.to_json() for image in self.images]}

    def rows(self) -> Iterator[tuple[str, int, str, float, float]]:
        """One row per image and class: `COLUMNS`."""
        for image in self.images:
            for rank, found in enumerate(image.classes, start=1):
                yield image.image, rank, found.name, found.probability, found.cosine

    def tables(self) -> Iterator[Table]:
        """One row per image and class."""
        shown = ((image, rank, name, percent(share), cosine) for image, rank, name, share, cosine in self.rows())
        yield Table("", COLUMNS, tuple(shown))

    def save(self, run: Run) -> Path:
        """Write the document into the reports of a run.  Returns its path."""
        path = run.reports / "predictions.json"
        write_json(path, self.to_json())
        return path


@ambient.settled()
def predict(
    images: str | Path | Sequence[str | Path],
    run: RunLike | None = None,
    *,
    k: int = 1,
    skip_bad_images: bool = False,
    root: str | Path = ROOT,
    device: str = "auto",
    should_stop: Callable[[], bool] = lambda: False,
    warn: Callable[[str], None] = warnings.warn,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Classify image files.

    Args:
        images: image files, or folders of them.
        run: what `runs.load` takes; the latest run by default.
        k: number of classes per image, at most those of the run.
        skip_bad_images: leave out unreadable images, with a warning, instead of raising DataError.
        root: folder of the runs.
        device: "auto", "cpu" or "cuda".
        should_stop: called between batches.
        warn: called with each warning.
        progress: called with (done, total) after each batch of images.

    Returns:
        The `Predictions`, which a notebook shows as a table.

    Raises:
        DataError: if there are no images, or one of them cannot be read.
        RunError: if the run is missing, not finished or damaged, or if its features are no finite numbers.
        UsageError: if the run was trained with one class per training image, so that it has no class names.
        StopRequested: if `should_stop` returns True.

    Example:
        >>> from randhead.evaluation import predict
        >>> predict("photos/test", "first", k=2).images[0].classes[0].name  # doctest: +SKIP
        'cat'
    """
    k = whole("k", k, 1)
    check_paths(root=root)
    check_functions(should_stop=should_stop, warn=warn, progress=progress)
    given = [images] if isinstance(images, str | Path) else several("images", images, "paths", kinds=(str, Path))
    loaded = runs.load(run, root=root, device=device).require_classes()
    if unfinished := loaded.unfinished():
        warn(unfinished)
    files = [file for path in given for file in _find(Path(path), warn)]
    size = features.batch_size(loaded.image_size)
    found: list[ImagePrediction] = []
    with closing(_read(files, loaded, warn, skip_bad_images=skip_bad_images, ahead=size)) as images_read:
        for start in range(0, len(files), size):
            if should_stop():
                raise StopRequested("stopped between two batches of images")
            batch = list(islice(images_read, size))
            readable = [image for image in batch if image]
            if readable:
                found += _score(loaded, readable, min(k, len(loaded.class_names)))
            if progress:
                progress(start + len(batch), len(files))
    return Predictions(loaded.run.name, tuple(found))


def _find(path: Path, warn: Callable[[str], None]) -> list[Path]:
    """The image files at a path, sorted.  Raises DataError if there are none."""
    if path.is_dir():
        files = datasets.image_files(path, warn)
        if not files:
            raise DataError(f"{path} has no images", hint="give image files, or folders of them")
        return files
    if not path.exists():
        raise DataFileError(f"{path}: no such file or folder", hint="give image files, or folders of them")
    return [path]


def _read(
    files: Sequence[Path], loaded: LoadedRun, warn: Callable[[str], None], *, skip_bad_images: bool, ahead: int
) -> Generator[tuple[Path, Tensor] | None, None, None]:
    """Files with their images (3, size, size).  For unreadable ones None, with a warning, or DataError is raised."""
    machine = loaded.config.machine
    reading = datasets.read_images(
        files,
        loaded.image_size,
        bit_depth=loaded.bit_depth,
        max_megapixels=machine.max_megapixels,
        workers=machine.workers,
        ahead=ahead,
    )
    with closing(reading) as read:
        for image in read:
            try:
                pixels = image.pixels(warn)
            except DataError as error:
                if not skip_bad_images:
                    error.with_hint("leave it out, or set `skip_bad_images=True`")
                    raise
                warn(f"{error.message}; left out")
                yield None
            else:
                yield image.path, pixels


def _score(loaded: LoadedRun, images: Sequence[tuple[Path, Tensor]], k: int) -> Iterator[ImagePrediction]:
    """The k most probable classes of each image."""
    batch = torch.stack([image for _, image in images])
    embedded, head = features.embed(loaded.model, batch, loaded.preprocess), loaded.model.head
    loaded.check_features(embedded)
    output, rows = head.output(embedded, k=k), head.rows()
    columns = zip(images, embedded, output.classes, output.probabilities, strict=True)
    for (file, _), feature, classes, probabilities in columns:
        cosines = torch.cosine_similarity(feature[None], rows.gather(classes).detach())
        best = zip(classes.tolist(), probabilities.tolist(), cosines.tolist(), strict=True)
        named = tuple(ClassPrediction(loaded.class_names[label], share, cosine) for label, share, cosine in best)
        yield ImagePrediction(str(file), named)
