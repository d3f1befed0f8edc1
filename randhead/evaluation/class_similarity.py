"""Similarity of classes from sources that do not depend on the analyzed run: pixels, another run, a taxonomy."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from randhead import metrics
from randhead.ambient import indices
from randhead.analyses import class_statistics, similarity
from randhead.arguments import composed
from randhead.datasets import Split
from randhead.errors import DataError, UsageError

BATCH = 1024
LAYOUT = "give a K x K matrix as .npy or .csv, or a text file with one line per class: cat: animal/mammal"


def mean_images(split: Split, num_classes: int) -> Tensor:
    """The mean image of every class, pixels in 0..255: (K, C * H * W) float64, zeros for a class without images."""
    sums = torch.zeros(num_classes, int(np.prod(split.images.shape)), dtype=torch.float64, device="cpu")
    batches = split.images.batches(indices(len(split)), BATCH)
    labels = split.labels.cpu()
    for images, y in zip(batches, labels.split(BATCH), strict=True):
        sums.index_add_(0, y, images.cpu().flatten(1).double())
    return sums / torch.bincount(labels, minlength=num_classes).clamp_min(1)[:, None]


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


def of_run(features: Tensor, predictions: Tensor, labels: Tensor, num_classes: int) -> dict[str, Tensor]:
    """Similarities (K, K) from another run: cosines of its class means, and the rate at which it confuses classes."""
    counts = metrics.confusion(labels, predictions, num_classes)
    return {
        "reference_means": similarity.cosines(class_means(features, labels, num_classes)),
        "reference_confusion": similarity.symmetrised(counts),
    }


def read(path: Path, class_names: tuple[str, ...]) -> Tensor:
    """Read the similarity of classes from a file.

    Args:
        path: a matrix (.npy, .csv) with its rows in the order of the class names, or a text file with one line
            "class: a/b/c" per class, the path from the root of a taxonomy (see `similarity.common_ancestry`).
        class_names: the K classes.

    Returns:
        (K, K) float64.

    Raises:
        UsageError: if the file cannot be used.
    """
    kind = path.suffix.lower()
    try:
        if kind == ".npy":
            matrix = torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float64))
        elif kind == ".csv":
            matrix = torch.from_numpy(np.loadtxt(path, delimiter=",", ndmin=2, dtype=np.float64))
        else:
            paths = _paths(path, composed(path.read_text(encoding="utf-8")))
            return similarity.common_ancestry([_of_class(path, paths, name) for name in class_names])
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint=LAYOUT) from None
    except (ValueError, TypeError, EOFError) as error:
        raise UsageError(f"{path}: cannot be read ({error})", hint=LAYOUT) from None
    if matrix.shape != (len(class_names), len(class_names)):
        expected = (len(class_names), len(class_names))
        raise UsageError(f"{path}: must be {expected} for the classes of the run, got {tuple(matrix.shape)}")
    return matrix


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
