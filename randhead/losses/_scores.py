"""What a normaliser gives."""

from typing import NamedTuple

from torch import Tensor


class Scores(NamedTuple):
    """Per sample: the logit of its own class (B,), and the log-sum-exp over the other classes (B,).

    `spread` (B,) is the standard deviation of the sum over the others, relative to the sum, and `offset` (B,) how far
    its logarithm may be off besides; None where the normaliser is exact.
    """

    own: Tensor
    others: Tensor
    spread: Tensor | None = None
    offset: Tensor | None = None
