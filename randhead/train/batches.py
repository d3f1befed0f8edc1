"""What the steps of an epoch see: which images in which order, how they are varied, and their labels."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from randhead import rng
from randhead.augment import crop, views
from randhead.config import TrainConfig
from randhead.datasets import Split


def count(images: int, size: int) -> int:
    """Batches an epoch.  A last batch of a single image is left out: batch normalisation cannot use it."""
    return max(1, images // size + (images % size > 1))


def of_epoch(
    split: Split, labels: Tensor, facts: Mapping[str, Any], train: TrainConfig, *, epoch: int, first: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Varied images (b, 3, H, W) and labels (b,) of an epoch from batch `first` on, on the device of `labels` (N,)."""
    size, place = train.batch_size, labels.device
    order = rng.permutation(train.seed, "order", len(split), stream=epoch)
    order = order[first * size : count(len(split), size) * size]
    ids = order.to(place)
    vary, labels = variation(ids, facts, seed=train.seed, epoch=epoch), labels[ids]
    starts = range(0, len(order), size)
    for start, images in zip(starts, split.images.batches(order, size), strict=True):
        rows = slice(start, start + size)
        yield vary(images.to(place, non_blocking=True), rows), labels[rows]


def variation(ids: Tensor, facts: Mapping[str, Any], *, seed: int, epoch: int) -> Callable[[Tensor, slice], Tensor]:
    """How the samples `ids` (N,) are varied in an epoch: a function of uint8 images (b, 3, H, W) and their rows of ids.

    Drawn for the whole epoch at once, which saves the generator's fixed cost for every batch.
    """
    if facts["augment"] == "views":
        drawn = views.draw(ids, seed=seed, epoch=epoch, size=(facts["image_size"],) * 2, flip=facts["flip"])
        return lambda images, rows: views.apply(images, drawn[rows])
    padding = facts["crop_padding"]
    crops = crop.draw(ids, seed=seed, epoch=epoch, padding=padding, flip=facts["flip"])
    return lambda images, rows: crop.crop_flip(images, crops[rows], padding)
