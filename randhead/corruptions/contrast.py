"""Contrast: (x - mean) c + mean, with the mean of every image and channel.  Hendrycks and Dietterich, ICLR 2019.

The result is truncated, so it matters on which side of an integer the float64 result of the reference is.  The sum of a
channel is an integer S; the exact result, c x + (1 - c) S / N, is an integer only if (1 - c) S is a multiple of N / 20
(every c is a multiple of 1/20).  Such channels, for example flat ones, are computed in the reference's order of
summation.
"""

import torch
from torch import Tensor

from randhead.corruptions._bytes import truncated

GROUP, ORDER = "digital", 12
SEVERITY_PARAMETERS = {
    "32": (0.75, 0.5, 0.4, 0.3, 0.15),
    "64": (0.4, 0.3, 0.2, 0.1, 0.05),
    "224": (0.4, 0.3, 0.2, 0.1, 0.05),
}


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Nothing: contrast is not random."""
    return {}


def apply(images: Tensor, noise: dict[str, Tensor], factor: float) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, with its contrast times `factor`."""
    values = images.flatten(2).to(torch.float64)
    total = values.sum(dim=2, keepdim=True)  # exact in any order
    count = values.shape[2]
    twentieths = round(20 * factor)
    tied = ((20 - twentieths) * total).remainder(count) == 0
    out = truncated(values.mul_(factor).add_(total * ((1 - factor) / count)))
    # A shortcut for the CPU, on which the check costs nothing: most batches have no such channel.
    if tied.any():
        rows = tied.flatten().nonzero().flatten()
        few = images.reshape(-1, count)[rows].cpu()  # CUDA adds in another order
        out.view(-1, count)[rows] = _as_the_reference(few, factor).to(images.device)
    return out.view(images.shape)


def _as_the_reference(channels: Tensor, factor: float) -> Tensor:
    """(M, N) uint8 -> uint8, in float64 with every rounding of the reference: NumPy adds one pixel after another."""
    values = channels.to(torch.float64) / 255
    mean = values.cumsum(dim=1)[:, -1:] / values.shape[1]
    return truncated(((values - mean) * factor + mean).clamp_(0, 1) * 255)
