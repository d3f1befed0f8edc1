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


def stratified_order(labels: Tensor, ids: Tensor, *, seed: int, purpose: str) -> Tensor:
    """An order in which the first samples, however many, are stratified by class.

    Samples are in the order of (rank within their class + 1/2) / size of the class.  Arguments as in `ranks_in_class`.

    Returns:
        Indices, int64 (N,).

    Example:
        >>> labels = torch.tensor([0, 0, 0, 1, 1, 1])
        >>> labels[stratified_order(labels, torch.arange(6), seed=0, purpose="x")].tolist()
        [0, 1, 0, 1, 0, 1]
    """
    share = (ranks_in_class(labels, ids, seed=seed, purpose=purpose).double() + 0.5) / torch.bincount(labels)[labels]
    by_class = torch.argsort(labels, stable=True)  # if two classes have the same share, the lower class is first
    return by_class[torch.argsort(share[by_class], stable=True)]
