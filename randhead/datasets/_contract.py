"""What a dataset from outside the package must be; `randhead.testing` checks more, which takes longer."""

from typing import Any

import torch
from torch import Tensor

from randhead.ambient import indices
from randhead.datasets._dataset import Dataset, Split

SPLITS = ("train", "val", "test")


def wrong_dataset(found: object) -> str | None:
    """What is wrong with the result of `load`; None if it is right.  Looks at all labels and one image per split."""
    if not isinstance(found, Dataset):
        return f"load must return a randhead.datasets.Dataset, got {type(found).__name__}"
    names = found.class_names
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        return f"class_names must be a tuple of str, got {names!r}"
    if not isinstance(found.splits, dict) or not set(SPLITS) <= set(found.splits):
        return f"splits must be {list(SPLITS)}, got {list(found.splits)}"
    problems = ((name, _wrong_split(found.splits[name], found)) for name in SPLITS)
    return next((f"split {name}: {problem}" for name, problem in problems if problem), None)


def _wrong_split(split: object, dataset: Dataset) -> str | None:
    if not isinstance(split, Split):
        return f"must be a randhead.datasets.Split, got {type(split).__name__}"
    missing = [part for part in ("__len__", "shape", "batches") if not hasattr(split.images, part)]
    if missing:
        return f"images have no {', '.join(missing)}: use randhead.datasets.TensorImages"
    wrong_labels = _wrong_labels(split.labels, len(split.images), len(dataset.class_names))
    return wrong_labels or _wrong_images(split.images, dataset)


def _wrong_labels(labels: object, count: int, num_classes: int) -> str | None:
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != (count,):
        got = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        return f"labels must be int64 of shape ({count},), one per image, got {got}"
    if count and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        return f"labels of {num_classes} classes must be 0 to {num_classes - 1}, got {labels.min()} to {labels.max()}"
    return None


def _wrong_images(images: Any, dataset: Dataset) -> str | None:
    shape = (3, dataset.image_size, dataset.image_size)
    if tuple(images.shape) != shape:
        return f"images must have the shape {shape}, got {tuple(images.shape)}"
    empty = torch.empty(1, *shape, dtype=torch.uint8, device="cpu")
    batch = next(iter(images.batches(indices(1), 1)), None) if len(images) else empty
    if not isinstance(batch, Tensor) or batch.dtype != torch.uint8 or batch.shape != (1, *shape):
        got = f"{batch.dtype} {tuple(batch.shape)}" if isinstance(batch, Tensor) else type(batch).__name__
        return f"images must be uint8, one of them (1, {', '.join(map(str, shape))}), got {got}"
    return None
