"""Batched cutout (DeVries and Taylor 2017, arXiv 1708.04552): a square of every image is set to the mean colour.

As in David Page's training of CIFAR-10, whose square of 8 pixels is always inside the image; in the paper it is of 16,
and the part that is outside is cut off.  The square of a sample is a function of (seed, sample id, epoch) and does not
depend on its batch.
"""

import torch
from torch import Tensor

from randhead import ambient, rng

PURPOSE = "cutout"


def draw(ids: Tensor, *, seed: int, epoch: int, image_size: int, side: int) -> Tensor:
    """Draw the squares of samples in an epoch: every position inside the image is equally likely.

    Args:
        ids: of the samples (B,) int64.
        seed: of the augmentation.
        epoch: number of the epoch.
        image_size: side of the images in pixels.
        side: of the squares in pixels, at most `image_size`.

    Returns:
        The first row and column of each square, (B, 2) int64, on the device of `ids`.

    Example:
        >>> corners = draw(torch.arange(3), seed=0, epoch=0, image_size=8, side=2)
        >>> int((apply(torch.ones(3, 1, 8, 8), corners, 2, torch.zeros(1)) == 0).sum())
        12
    """
    return rng.integers(seed, PURPOSE, ids, 2, high=image_size - side + 1, stream=epoch)


def apply(images: Tensor, corners: Tensor, side: int, colour: Tensor) -> Tensor:
    """Set a square of each image to a colour: images (B, C, H, W) -> the same shape and type.

    Args:
        images: (B, C, H, W).
        corners: the first row and column of each square (B, 2) int64.
        side: of the squares in pixels.
        colour: (C,) of the type of `images`, on their device.
    """
    tops, lefts = corners[:, :1], corners[:, 1:]
    down, across = (ambient.indices(length, images.device) for length in images.shape[2:])
    rows, columns = (down >= tops) & (down < tops + side), (across >= lefts) & (across < lefts + side)
    return torch.where(rows[:, None, :, None] & columns[:, None, None], colour[:, None, None], images)
