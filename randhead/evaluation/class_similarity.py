"""Similarity of classes from sources that do not depend on the analyzed run: pixels, another run, a taxonomy."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from randhead import metrics
from randhead.ambient import indices
from randhead.analyses import class_statistics, similarity
from randhead.arguments import composed
from randhead.datasets import Split
from randhead.errors import DataError, StopRequested, UsageError

BATCH = 1024
LAYOUT = "give a K x K matrix as .npy or .csv, or a text file with one line per class: cat: animal/mammal"


def mean_images(split: Split, classes: Tensor, *, should_stop: Callable[[], bool] = lambda: False) -> Tensor:
    """The mean image of each of some classes, whose images are read, pixels in 0..255.

    Args:
        split: images and their labels.
        classes: (M,) int64, each once.
        should_stop: called between batches.

    Returns:
        (M, C * H * W) float64, zeros for a class without images.

    Raises:
        StopRequested: if `should_stop` returns True.
    """
    rows = _positions(split.labels.cpu(), classes)
    sums = torch.zeros(len(classes), int(np.prod(split.images.shape)), dtype=torch.float64, device="cpu")
    known = (rows < len(classes)).nonzero().flatten()
    batches = split.images.batches(known, BATCH)
    for images, some in zip(batches, rows[known].split(BATCH), strict=True):
        if should_stop():
            raise StopRequested("stopped between two batches of images")
        sums.index_add_(0, some, images.cpu().flatten(1).double())
    return sums.div_(torch.bincount(rows[known], minlength=len(classes)).clamp_min(1)[:, None])


def class_means(features: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Mean feature of every class: (N, D), (N,) -> (K, D) float64.

    Raises:
        DataError: if a class has no sample.
    """
    statistics = class_statistics(features, labels, num_classes=num_classes)
    if not statistics.counts.all():
        raise DataError(
            f"class {int((statistics.counts == 0).nonzero()[0])} has no sample: its similarity to others is unknown",
            hint="use images of all classes of the run",
        )
    return statistics.means


def of_confusions(predictions: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    """The rates at which a run confuses pairs of some classes, symmetrised: (N,), (N,), (M,) -> (M, M) float64."""
    others = len(classes)  # one more class: the rates are shares of all images of a class
    counts = metrics.confusion(_positions(labels, classes), _positions(predictions, classes), others + 1)
    return similarity.symmetrised(counts)[:others, :others]


def _positions(labels: Tensor, classes: Tensor) -> Tensor:
    """The position of each label in `classes`, and the length of `classes` for a label that is not in it."""
    count = 1 + int(torch.cat((labels, classes)).max())
    places = torch.full((count,), len(classes), dtype=torch.int64, device="cpu")
    places[classes] = indices(len(classes))
    return places[labels]


def read(path: Path, class_names: tuple[str, ...]) -> Callable[[Tensor], Tensor]:
    """Read the similarity of classes from a file.

    Args:
        path: a matrix (.npy, .csv) with its rows in the order of the class names, or a text file with one line
            "class: a/b/c" per class, the path from the root of a taxonomy (see `similarity.common_ancestry`).
        class_names: the K classes.

    Returns:
        A function of class indices (M,) int64 that returns the similarities of these classes (M, M) float64.

    Raises:
        UsageError: if the file cannot be used.
    """
    try:
        if path.suffix.lower() in (".npy", ".csv"):
            return partial(_rows_and_columns, _matrix(path, len(class_names)))
        paths = _paths(path, composed(path.read_text(encoding="utf-8")))
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint=LAYOUT) from None
    except (ValueError, TypeError, EOFError) as error:
        raise UsageError(f"{path}: cannot be read ({error})", hint=LAYOUT) from None
    known = [_of_class(path, paths, name) for name in class_names]
    return lambda classes: similarity.common_ancestry([known[k] for k in classes.tolist()])


def _matrix(path: Path, num_classes: int) -> np.ndarray:
    """A matrix (K, K) of a file; a .npy file stays on the disk."""
    if path.suffix.lower() == ".npy":
        matrix = np.load(path, allow_pickle=False, mmap_mode="r")
    else:
        matrix = np.loadtxt(path, delimiter=",", ndmin=2, dtype=np.float64)
    if not isinstance(matrix, np.ndarray) or matrix.dtype.kind not in "biuf":
        raise ValueError("it holds no matrix of real numbers")
    if matrix.shape != (num_classes, num_classes):
        expected = (num_classes, num_classes)
        raise UsageError(f"{path}: must be {expected} for the classes of the run, got {tuple(matrix.shape)}")
    return matrix


def _rows_and_columns(matrix: np.ndarray, classes: Tensor) -> Tensor:
    return torch.from_numpy(matrix[np.ix_(classes.numpy(), classes.numpy())].astype(np.float64))


def _paths(file: Path, text: str) -> dict[str, list[str]]:
    """Class -> steps of its path, from the lines of a text."""
    paths: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, colon, route = line.rpartition(":")
        steps = [step.strip() for step in route.split("/") if step.strip()]
        if not colon or not steps:
            raise UsageError(f"{file}: line {number} is not a class and its path: {line.strip()[:60]!r}", hint=LAYOUT)
        if name.strip() in paths:
            raise UsageError(f"{file}: line {number} names {name.strip()!r} again", hint="keep one line per class")
        paths[name.strip()] = steps
    return paths


def _of_class(file: Path, paths: dict[str, list[str]], name: str) -> list[str]:
    if name not in paths:
        raise UsageError(f"{file}: has no line for class {name!r}", hint=LAYOUT)
    return paths[name]
