"""The result of a softmax method for a batch."""

from typing import NamedTuple

from torch import Tensor


class Scores(NamedTuple):
    """The two numbers per sample that cross-entropy needs.

    Attributes:
        target: logit of the sample's own class (B,).
        non_target: log-sum-exp of the logits of all other classes (B,).
        relative_std: standard deviation of the sum over the other classes, relative to the sum (B,); None for an exact
            method.
        log_bias: bound on the systematic error of the logarithm of that sum (B,); None if its formula is exact.
    """

    target: Tensor
    non_target: Tensor
    relative_std: Tensor | None = None
    log_bias: Tensor | None = None
