"""The target class of a sample among the classes of a tile: every sum over the other classes leaves it out."""

import torch
from torch import Tensor


def pop_target(values: Tensor, columns: Tensor) -> Tensor:
    """Entries values[i, columns[i]], which become -inf: (B, T), (B,) int64 -> (B,); -inf if there is no such column."""
    inside = ((columns >= 0) & (columns < values.shape[1]))[:, None]
    nearest = columns.clamp(0, values.shape[1] - 1)[:, None]
    found = values.gather(1, nearest)
    values.scatter_(1, nearest, found.masked_fill(inside, -torch.inf))
    return found.masked_fill(~inside, -torch.inf)[:, 0]
