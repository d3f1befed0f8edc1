"""Padding of images beyond their border: index tables for any margin, even larger than the image."""

import torch
from torch import Tensor


def mirrored(index: Tensor, size: int) -> Tensor:
    """Fold indices into 0..size-1 without repeating the border: dcb|abcd|cba (OpenCV's reflect-101)."""
    period = max(2 * size - 2, 1)
    folded = index.remainder(period)
    return torch.minimum(folded, period - folded)


def padded(images: Tensor, margin: int) -> Tensor:
    """(B, C, H, W) -> (B, C, H + 2 margin, W + 2 margin), mirrored without repeating the border."""
    for dim in (2, 3):
        size = images.shape[dim]
        if margin < size:  # a third of the time
            before, after = images.narrow(dim, 1, margin), images.narrow(dim, size - 1 - margin, margin)
            images = torch.cat((before.flip(dim), images, after.flip(dim)), dim=dim)
            continue
        index = mirrored(torch.arange(-margin, size + margin, dtype=torch.int64, device=images.device), size)
        images = images.index_select(dim, index)
    return images


def repeated(values: Tensor, margin: int, dim: int) -> Tensor:
    """Repeat the first and the last entry of a dimension `margin` times."""
    shape = [margin if i == dim else -1 for i in range(values.ndim)]
    first, last = values.narrow(dim, 0, 1), values.narrow(dim, values.shape[dim] - 1, 1)
    return torch.cat((first.expand(shape), values, last.expand(shape)), dim=dim)


def mirrored_whole(index: Tensor, size: int) -> Tensor:
    """Fold indices into 0..size-1 with the border repeated: dcba|abcd|dcba (scipy's reflect)."""
    folded = index.remainder(2 * size)
    return torch.minimum(folded, 2 * size - 1 - folded)
