"""Weighted sums of class vectors: soft labels and label smoothing need q.(sum_k t_k w_k), not the logits q.w_k."""

import torch
from torch import Tensor

from randhead.losses._rows import ClassRows
from randhead.losses._topk import tiles


def mixture(shares: Tensor, rows: ClassRows, class_weights: Tensor | None, dtype: torch.dtype) -> Tensor:
    """The sums over classes of share times class weight times class vector: (B, K) -> (B, D), in tiles.

    Args:
        shares: of each class (B, K), of any floating-point dtype.
        rows: K class vectors.
        class_weights: (K,); None for 1.
        dtype: of the result.

    Example:
        >>> from randhead.losses import StoredRows
        >>> mixture(torch.tensor([[0.5, 0.25]]), StoredRows(torch.eye(2)), torch.tensor([1.0, 2.0]), torch.float32)
        tensor([[0.5000, 0.5000]])
    """
    if rows.geometry is None:  # learned: their gradient has the size of all of them anyway
        matrix = rows.matrix().to(dtype)
        return shares.to(dtype) @ (matrix if class_weights is None else class_weights.to(dtype)[:, None] * matrix)
    total = torch.zeros(len(shares), rows.dim, dtype=dtype, device=shares.device)
    for start, tile in tiles(total, rows):
        part = shares.detach()[:, start : start + len(tile)].to(dtype)
        if class_weights is not None:
            part = part * class_weights[start : start + len(tile)].to(dtype)
        total.addmm_(part, tile)
    return total
