"""The largest of many linear functions, as float64 decides it, mostly in float32."""

import torch
from torch import Tensor

from randhead.ambient import settled
from randhead.analyses._neighbours import doubt


class Largest:
    """For rows h, the column k with the largest h.w_k + b_k: (B, D) -> (B,) int64.

    All are computed in float32, in half the time of float64 and with a known largest error.  Rows whose two largest
    numbers differ by no more than this error explains are computed again.

    Args:
        weights: (M, D) float64.
        shift: (M,) float64.
    """

    def __init__(self, weights: Tensor, shift: Tensor):
        self.weights, self.shift = weights, shift
        self.length = float(weights.norm(dim=1).max()) or 1.0
        self.offset = float(shift.abs().max()) or 1.0
        self.scaled = torch.cat((weights / self.length, shift[:, None] / self.offset), dim=1).float()

    def __call__(self, rows: Tensor) -> Tensor:
        """The columns of rows (B, D) float64."""
        # With the shift as one more dimension, and rows of length 1, no number is out of the range of float32.
        scaled = torch.cat((rows * self.length, rows.new_full((len(rows), 1), self.offset)), dim=1)
        scaled = (scaled / scaled.norm(dim=1, keepdim=True)).float()
        with settled():  # products of float32 in float32
            scores = scaled @ self.scaled.T
        largest, found = scores.max(dim=1)
        least = largest - doubt(scaled.shape[1]) * 2**0.5  # columns have a length of at most the root of 2
        close = ~(scores.scatter_(1, found[:, None], -2).amax(dim=1) < least)  # also where numbers of float64 overflow
        if close.any():
            found[close] = (rows[close] @ self.weights.T + self.shift).argmax(dim=1)
        return found
