"""The contract of the datasets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from randhead import datasets
from randhead.ambient import indices
from randhead.datasets import Dataset, Split
from randhead.testing._members import Member, claim, known, without_global_randomness

SPLITS = ["train", "val", "test"]
OTHER_SIZE = 20  # pixels


def check_dataset(member: Member, *, options: Mapping[str, Any] | None = None) -> None:
    """Check that a member of `randhead.datasets`, or a folder of images, fulfils the contract of its family.

    Args:
        member: a module, the path of a Python file, the name of a member, or the path of a folder of images.
        options: fields of `randhead.datasets.Options`, for example `root`.

    Raises:
        AssertionError: if the contract is broken.

    Example:
        >>> check_dataset("digits")
    """
    given = dict(options or {})
    if isinstance(member, Path) and member.is_dir():
        _check(str(member.resolve()), given)
        return
    with known("datasets", member) as (name, _):
        _check(name, given)


def _check(name: str, options: dict[str, Any]) -> None:
    with without_global_randomness("load"):
        dataset = datasets.load(name, **options)
    claim(isinstance(dataset, Dataset), f"load must return a randhead.datasets.Dataset, got {type(dataset).__name__}")
    claim(list(dataset.splits) == SPLITS, f"splits must be {SPLITS}, in this order, got {list(dataset.splits)}")
    _check_classes(dataset)
    for split_name, split in dataset.splits.items():
        _check_split(split_name, split, dataset)
        _check_batches(split_name, split)
    _check_again(dataset, datasets.load(name, **options))
    resized = datasets.load(name, **{**options, "image_size": OTHER_SIZE})
    shape = tuple(resized.splits["train"].images.shape)
    claim(shape == (3, OTHER_SIZE, OTHER_SIZE), f"image_size={OTHER_SIZE} must give (3, 20, 20), got {shape}")
    claim(resized.image_size == OTHER_SIZE, f"image_size of the dataset must be {OTHER_SIZE}, got {resized.image_size}")


def _check_classes(dataset: Dataset) -> None:
    names = dataset.class_names
    claim(isinstance(names, tuple) and all(isinstance(n, str) for n in names), "class_names must be a tuple of str")
    claim(len(set(names)) == len(names) >= 2, f"class_names must be two or more different names, got {names}")
    claim(bool(dataset.name), "a dataset needs a name")


def _check_split(name: str, split: Split, dataset: Dataset) -> None:
    images, labels = split.images, split.labels
    claim(tuple(images.shape) == (3, dataset.image_size, dataset.image_size), f"{name}: shape {tuple(images.shape)}")
    claim(labels.dtype == torch.int64, f"{name}: labels must be int64, got {labels.dtype}")
    claim(labels.shape == (len(images),), f"{name}: {len(images)} images, labels of shape {tuple(labels.shape)}")
    found, expected = sorted(labels.unique().tolist()), list(range(len(dataset.class_names)))
    claim(found == expected, f"{name}: every class needs an image, and labels are 0..K-1; the labels are {found}")


def _check_batches(name: str, split: Split) -> None:
    order = indices(len(split)).flip(0)[:50].repeat(2)
    whole = _pixels(split, order, 100)
    claim(whole.dtype == torch.uint8, f"{name}: images must be uint8, got {whole.dtype}")
    claim(tuple(whole.shape) == (len(order), *split.images.shape), f"{name}: batches of shape {tuple(whole.shape)}")
    for size in (1, 7):
        claim(torch.equal(_pixels(split, order, size), whole), f"{name}: images depend on the batch size, {size}")
    shuffled = torch.randperm(len(order), generator=torch.Generator().manual_seed(0))
    claim(torch.equal(_pixels(split, order[shuffled], 7), whole[shuffled]), f"{name}: images depend on their order")
    claim(list(split.images.batches(order[:0], 2)) == [], f"{name}: no images must give no batch")


def _check_again(first: Dataset, second: Dataset) -> None:
    """The same options must give the same splits."""
    for name, split in first.splits.items():
        other = second.splits[name]
        rows = indices(min(len(split), 50))
        same = torch.equal(split.labels, other.labels) and torch.equal(
            _pixels(split, rows, 50), _pixels(other, rows, 50)
        )
        claim(same, f"{name}: loaded again with the same options, the split has other images")


def _pixels(split: Split, order: Tensor, batch_size: int) -> Tensor:
    return torch.cat(list(split.images.batches(order, batch_size)))
