"""Mean and standard deviation of channels, from integer sums: the same bits for any batch size and device.

Images from files have their sums from the time when they were read.  The values of others are counted, which takes a
quarter of the time of adding up their squares.
"""

import numpy as np
import torch
from torch import Tensor

from randhead.ambient import as_tensor, indices
from randhead.datasets._hold_out import known_of
from randhead.datasets._images import Images

BATCH = 1024
VALUES = np.arange(256, dtype=np.int64)


def channel_sums(images: np.ndarray) -> np.ndarray:
    """Per image, the sums of the values of each channel, and of their squares: (N, 3, H, W) uint8 -> (N, 2, 3) int64.

    Floating-point numbers of 64 bits are exact to 2^53, which no image reaches, and are added faster than integers.
    """
    values = images.reshape(len(images), 3, -1).astype(np.float64)
    return np.stack([values.sum(axis=2), np.einsum("nij,nij->ni", values, values)], axis=1).astype(np.int64)


def channel_statistics(images: Images) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel, of pixels scaled to [0, 1].

    Args:
        images: the images.

    Returns:
        Two tensors (3,) float32 on the CPU.  The standard deviation is at least 1/255, so that a constant channel can
        be divided by it.
    """
    known = known_of(images, indices(len(images)), lambda read: read.sums)
    total, squares = (_counted(images) if known is None else known.sum(axis=0)).tolist()
    count = len(images) * images.shape[1] * images.shape[2]
    # Python's integers: count * squares exceeds 2^63 from some 10^9 pixels on.
    variances = [count * q - s * s for s, q in zip(total, squares, strict=True)]
    mean = as_tensor([s / count / 255 for s in total]).float()
    std = as_tensor([max(variance**0.5 / count / 255, 1 / 255) for variance in variances]).float()
    return mean, std


def _counted(images: Images) -> np.ndarray:
    """The sums of all values of each channel, and of their squares, from the number of pixels per value: (2, 3)."""
    counts = torch.zeros(3, len(VALUES), dtype=torch.int64, device="cpu")
    for batch in images.batches(indices(len(images)), BATCH):
        found = [torch.bincount(batch[:, channel].flatten(), minlength=len(VALUES)) for channel in range(3)]
        counts = counts.to(batch.device) + torch.stack(found)
    return np.stack([VALUES, VALUES**2]) @ counts.cpu().numpy().T
