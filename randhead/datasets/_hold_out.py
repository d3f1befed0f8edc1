"""Classes that are left out of training, so that the features can be tested on classes that were never seen."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from randhead import rng
from randhead.ambient import indices
from randhead.arguments import composed
from randhead.datasets._dataset import Dataset, Split
from randhead.datasets._images import FileImages, Images, TensorImages
from randhead.errors import UsageError, unknown

FEWEST = 2  # classes that must be left out, and that must remain: a single class cannot be distinguished from others


class Subset:
    """Some of the images of another dataset.

    Args:
        images: all of them.
        rows: the indices of the chosen images (N,) int64, on the CPU.
    """

    def __init__(self, images: Images, rows: Tensor):
        self.images, self.rows = images, rows
        self.shape = images.shape

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[Tensor]:
        """As in `randhead.datasets.Images`."""
        return self.images.batches(self.rows[order.cpu()], batch_size)


def known_of(
    images: Images, order: Tensor, get: Callable[[FileImages | TensorImages], np.ndarray | None]
) -> np.ndarray | None:
    """What is known of single images from the time when they were read, such as their digests.

    Args:
        images: the images.
        order: the indices of M of them (M,) int64, on the CPU.
        get: an attribute of the images that were read, with a row per image.

    Returns:
        The rows of these images (M, ...); None if they are not known.
    """
    if isinstance(images, Subset):
        return known_of(images.images, images.rows[order], get)
    known = get(images) if isinstance(images, FileImages | TensorImages) else None
    if known is None:
        return None
    return known[(images.rows.cpu()[order] if isinstance(images, TensorImages) else order).numpy()]


def chosen(setting: str, class_names: tuple[str, ...], *, seed: int) -> list[int]:
    """The classes that a setting leaves out: a number of them, drawn by `seed`, or names separated by commas.

    "3" is a number; the class with the name 3 is "3,".  Raises UsageError for unknown names, and if fewer than two
    classes would be left out or would remain.
    """
    text = composed(setting.strip())
    if text.isdecimal():
        count = int(text)
        _check(count, len(class_names))
        order = rng.permutation(seed, "data/hold-out-classes", len(class_names))
        return sorted(order[:count].tolist())
    wanted = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in wanted:
        if name not in class_names:
            raise unknown("class to hold out", name, class_names)
    _check(len(wanted), len(class_names))
    return sorted(class_names.index(name) for name in wanted)


def part(dataset: Dataset, classes: list[int]) -> Dataset:
    """The images of some classes only, with new labels in their order."""
    names = tuple(dataset.class_names[k] for k in classes)
    number = torch.full((len(dataset.class_names),), -1, dtype=torch.int64, device="cpu")
    number[classes] = indices(len(classes))
    splits = {name: _part(split, number) for name, split in dataset.splits.items()}
    return replace(dataset, class_names=names, splits=splits)


def divide_classes(dataset: Dataset, setting: str, *, seed: int) -> tuple[Dataset, Dataset]:
    """Divide a dataset by its classes.

    Args:
        dataset: the images of all classes.
        setting: the classes to hold out: a number of them, drawn at random, or names separated by commas.
        seed: seed of the draw.

    Returns:
        The dataset without these classes, and the dataset of only these classes.

    Raises:
        UsageError: for an unknown name, or if one side has fewer than two classes.
    """
    held = chosen(setting, dataset.class_names, seed=seed)
    kept = [k for k in range(len(dataset.class_names)) if k not in held]
    return part(dataset, kept), part(dataset, held)


def _part(split: Split, number: Tensor) -> Split:
    labels = number.to(split.labels.device)[split.labels]
    rows = (labels >= 0).nonzero().flatten()
    return Split(Subset(split.images, rows.cpu()), labels[rows])


def _check(count: int, total: int) -> None:
    if count < FEWEST or total - count < FEWEST:
        raise UsageError(
            f"data.hold_out_classes leaves out {count} of {total} classes",
            hint=f"at least {FEWEST} classes must be left out, and at least {FEWEST} must remain",
        )
