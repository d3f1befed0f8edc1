"""How the softmax over all classes is computed: one file, one method, one verb, `scores`.

A method computes two numbers per sample: the logit of its target class and the log-sum-exp over the *other* classes.
With the two, cross-entropy is softplus(non_target - target), which keeps its digits if the sample is well fitted; the
usual form subtracts two nearly equal numbers there.  Margins, temperature, label smoothing and weights are ordinary
autograd on top.
"""

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from randhead.losses._checks import check_batch, check_exact_classes
from randhead.losses._margins import arcface, cosface
from randhead.losses._output import HeadOutput, head_output
from randhead.losses._rows import ClassRows, DrawnRows, StoredRows
from randhead.losses._scores import Scores
from randhead.losses._topk import top

__all__ = [
    "ClassRows",
    "DrawnRows",
    "HeadOutput",
    "Scores",
    "SoftmaxMethod",
    "StoredRows",
    "arcface",
    "check_batch",
    "check_exact_classes",
    "cosface",
    "cross_entropy",
    "head_output",
    "top",
]


class SoftmaxMethod(Protocol):
    """A member of this family: a module with this verb, which may take more arguments by keyword."""

    @staticmethod
    def scores(queries: Tensor, labels: Tensor, rows: ClassRows, bias: Tensor | None = None) -> Scores:
        """Scores of a batch.

        Args:
            queries: embedded, scaled features (B, D).
            labels: target classes (B,) int64.
            rows: K class vectors.
            bias: learned bias (K,).
        """
        ...


def cross_entropy(target: Tensor, non_target: Tensor) -> Tensor:
    """Cross-entropy in the form that leaves the target out of the sum: softplus(non_target - target).

    Args:
        target: logits of the target classes (B,).
        non_target: log-sum-exp of the logits of the other classes (B,).

    Returns:
        The loss per sample, in nats (B,).

    Example:
        >>> import torch
        >>> scores = torch.tensor([3.0]), torch.tensor([3.0])  # the target is as probable as all others together
        >>> cross_entropy(*scores).exp()
        tensor([2.])
    """
    return F.softplus(non_target - target)
