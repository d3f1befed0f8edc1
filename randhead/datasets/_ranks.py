"""Random ranks within classes, from which all stratified choices of images are made."""

import torch
from torch import Tensor

from randhead import rng
from randhead.ambient import indices


def ranks_in_class(labels: Tensor, ids: Tensor, *, seed: int, purpose: str) -> Tensor:
    """The rank of each sample among the samples of its class, in a random order.

    Args:
        labels: int64 (N,).
        ids: int64 (N,), ids of the samples: the order is a function of (seed, purpose, ids).
        seed: of the order.
        purpose: of the random numbers.

    Returns:
        int64 (N,), from 0 to the size of the class - 1.

    Example:
        >>> ranks_in_class(torch.tensor([0, 1, 0, 1]), torch.arange(4), seed=0, purpose="x").sort().values.tolist()
        [0, 0, 1, 1]
    """
    drawn = rng.words(seed, purpose, ids, 2)
    order = torch.argsort((drawn[:, 0] << 31) | (drawn[:, 1] >> 1), stable=True)
    order = order[torch.argsort(labels[order], stable=True)]  # by class, at random within it
    counts = torch.bincount(labels)
    first = (counts.cumsum(0) - counts)[labels[order]]
    ranks = torch.empty(len(labels), dtype=torch.int64, device=labels.device)
    ranks[order] = indices(len(labels), labels.device) - first
    return ranks
