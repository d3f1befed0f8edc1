"""Impulse noise: a share of all values, per channel, becomes 0 or 255 with equal probability.

Hendrycks and Dietterich, ICLR 2019, with scikit-image's salt and pepper.  One random number per value decides: the
lowest a/2 of its range is pepper, the highest a/2 is salt, so that a higher severity changes the same values as a lower
one, and more.
"""

import torch
from torch import Tensor

from randhead import rng
from randhead.corruptions._bytes import shaped

GROUP, ORDER = "noise", 3
SEVERITY_PARAMETERS = {  # the share of values that are changed
    "32": (0.01, 0.02, 0.03, 0.05, 0.07),
    "64": (0.01, 0.02, 0.05, 0.08, 0.14),
    "224": (0.03, 0.06, 0.09, 0.17, 0.27),
}


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Ranks (B, 3, H, W) int32, uniform over all 32 bits."""
    count = 3 * size[0] * size[1]
    words = rng.long_words(seed, "corruptions/impulse_noise", ids, -(-count // 2))
    return {"ranks": shaped(words.view(torch.int32)[:, :count], size)}


def apply(images: Tensor, noise: dict[str, Tensor], share: float) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, with `share` of its values replaced."""
    pepper, salt = masks(noise["ranks"], share)
    return images.masked_fill(pepper, 0).masked_fill_(salt, 255)


def masks(ranks: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Masks of the values that become 0, and of those that become 255."""
    hits = round(share / 2 * 2**32)
    return ranks < hits - 2**31, ranks >= 2**31 - hits
