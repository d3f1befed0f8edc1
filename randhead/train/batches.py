"""The batches of an epoch: the order of images, their augmentation, and their labels."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from randhead import rng
from randhead.augment import crop, cutout, views
from randhead.config import TrainConfig
from randhead.config.resolved import ResolvedSettings
from randhead.datasets import Split
from randhead.train.phases import AUGMENTATION, phase


def count(images: int, size: int) -> int:
    """Number of batches per epoch.  A last batch of one image is left out: batch normalisation cannot use it."""
    return max(1, images // size + (images % size > 1))


def of_epoch(
    split: Split, labels: Tensor, settings: ResolvedSettings, train: TrainConfig, *, epoch: int, first: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of an epoch from batch `first` on, on the device of `labels`.

    Args:
        split: the training images.
        labels: (N,) int64, the target class of each image.
        settings: the resolved settings, which contain the augmentation.
        train: batch size and seed.
        epoch: index of the epoch.
        first: index of the first batch.

    Yields:
        Augmented images (b, 3, H, W) uint8 and their labels (b,).
    """
    size, device = train.batch_size, labels.device
    order = rng.permutation(train.seed, "order", len(split), stream=epoch)
    order = order[first * size : count(len(split), size) * size]
    ids = order.to(device)
    vary, labels = variation(ids, settings, seed=train.seed, epoch=epoch), labels[ids]
    starts = range(0, len(order), size)
    for start, images in zip(starts, split.images.batches(order, size), strict=True):
        rows = slice(start, start + size)
        images = images.to(device, non_blocking=True)
        with phase(AUGMENTATION):
            images = vary(images, rows)
        yield images, labels[rows]


def variation(ids: Tensor, settings: ResolvedSettings, *, seed: int, epoch: int) -> Callable[[Tensor, slice], Tensor]:
    """The augmentation of the images `ids` (N,) in an epoch: a function of uint8 images (b, 3, H, W) and their rows.

    It is drawn for the whole epoch at once, which saves the generator's fixed cost per batch.
    """
    vary, side = _crops_or_views(ids, settings, seed=seed, epoch=epoch), settings.cutout
    if not side:
        return vary
    corners = cutout.draw(ids, seed=seed, epoch=epoch, image_size=settings.image_size, side=side)
    colour = torch.tensor([round(255 * mean) for mean in settings.mean], dtype=torch.uint8, device=ids.device)
    return lambda images, rows: cutout.apply(vary(images, rows), corners[rows], side, colour)


def _crops_or_views(
    ids: Tensor, settings: ResolvedSettings, *, seed: int, epoch: int
) -> Callable[[Tensor, slice], Tensor]:
    if settings.augment == "views":
        drawn = views.draw(ids, seed=seed, epoch=epoch, size=(settings.image_size,) * 2, flip=settings.flip)
        return lambda images, rows: views.apply(images, drawn[rows])
    padding = settings.crop_padding
    crops = crop.draw(ids, seed=seed, epoch=epoch, padding=padding, flip=settings.flip)
    return lambda images, rows: crop.crop_flip(images, crops[rows], padding)
