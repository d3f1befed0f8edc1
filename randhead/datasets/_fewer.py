"""A part of the training images, stratified by class: `data.train_images`."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from randhead.ambient import indices
from randhead.datasets._dataset import Dataset, Split
from randhead.datasets._hold_out import Subset
from randhead.datasets._options import Options
from randhead.datasets._ranks import ranks_in_class, stratified_order
from randhead.errors import UsageError
from randhead.tables import count

PURPOSE = "split/fewer"
KEY = "data.train_images"


def fewer_rows(
    rows: Mapping[str, Tensor], labels: Tensor, ids: Tensor, options: Options, *, drawn_val: bool
) -> dict[str, Tensor]:
    """The rows per split with fewer training images, and a validation split that is smaller by the same factor.

    A smaller number is a part of a larger one, in both splits, and no image changes its split.

    Args:
        rows: of all splits, after the division.
        labels: (N,) int64, of all rows.
        ids: (N,) int64, by which images are chosen.
        options: the number of training images, and the seed of the choice.
        drawn_val: whether the validation split was drawn; one that somebody has made is not touched.

    Raises:
        UsageError: if there are fewer training images than are asked for, or more classes.
    """
    wanted = options.train_images
    if wanted is None or "train" not in rows:
        return dict(rows)
    train = rows["train"]
    found = {**rows, "train": train[first(labels[train], ids[train], wanted, seed=options.split_seed)]}
    if drawn_val and "val" in rows:
        val = rows["val"]
        classes = len(labels[val].unique())
        number = max(round(len(val) * wanted / len(train)), min(classes, len(val)))
        found["val"] = val[first(labels[val], ids[val], number, seed=options.split_seed)]
    return found


def first(labels: Tensor, ids: Tensor, number: int, *, seed: int) -> Tensor:
    """Choose images, stratified by class, at least one per class: labels (N,), ids (N,) -> ascending indices (number,).

    Raises UsageError if there are not so many images, or more classes.
    """
    classes = len(labels.unique())
    if not classes <= number <= len(labels):
        there = f"{count(len(labels), 'training image')} in {count(classes, 'class')}"
        hint = f"give a number from {classes} to {len(labels)}, or leave it out for all"
        raise UsageError(f"{KEY} is {number:,}, and there are {there}", hint=hint)
    order = stratified_order(labels, ids, seed=seed, purpose=PURPOSE)
    later = ranks_in_class(labels, ids, seed=seed, purpose=PURPOSE)[order] > 0
    return order[torch.argsort(later.long(), stable=True)][:number].sort().values


def with_fewer(dataset: Dataset, options: Options) -> Dataset:
    """The dataset of a member from outside, which may not know of `train_images`, with the number that is wanted.

    Raises UsageError if it has fewer images.
    """
    train = dataset.splits.get("train")
    if options.train_images is None or train is None or len(train) == options.train_images:
        return dataset
    labels = train.labels.cpu()
    chosen = first(labels, indices(len(labels)), options.train_images, seed=options.split_seed)
    part = Split(Subset(train.images, chosen), train.labels[chosen.to(train.labels.device)])
    return replace(dataset, splits={**dataset.splits, "train": part})
