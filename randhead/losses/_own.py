"""The class of a sample among the classes of a tile: it is left out of every sum over the others."""

import torch
from torch import Tensor


def take_out(values: Tensor, places: Tensor) -> Tensor:
    """Column places[i] of row i, (B, T) -> (B,), where -inf is left behind; -inf where there is no such column."""
    inside = ((places >= 0) & (places < values.shape[1]))[:, None]
    columns = places.clamp(0, values.shape[1] - 1)[:, None]
    found = values.gather(1, columns)
    values.scatter_(1, columns, found.masked_fill(inside, -torch.inf))
    return found.masked_fill(~inside, -torch.inf)[:, 0]
