"""Methods for the softmax over all classes: one file per method, each with one function, `scores`.

A method computes two numbers per sample: the logit of its target class and the log-sum-exp over the *other* classes.
Cross-entropy is then softplus(non_target - target), which stays precise for a well-fitted sample; the usual form would
subtract two nearly equal numbers.  Margins, temperature, label smoothing and weights are added on top, by ordinary
autograd.
"""

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from randhead.losses._batch import LossBatch
from randhead.losses._checks import check_batch, check_exact_classes, check_hard_labels, check_margin
from randhead.losses._margins import arcface, cosface
from randhead.losses._mixture import mixture
from randhead.losses._output import HeadOutput, head_output
from randhead.losses._rows import ClassRows, DrawnRows, StoredRows
from randhead.losses._scores import Scores
from randhead.losses._topk import top
from randhead.losses._tracing import is_recorded, is_transformed, untransformed
from randhead.losses._values import nan_if_infinite

__all__ = [
    "ClassRows",
    "DrawnRows",
    "HeadOutput",
    "LossBatch",
    "Scores",
    "SoftmaxMethod",
    "StoredRows",
    "arcface",
    "check_batch",
    "check_exact_classes",
    "check_hard_labels",
    "check_margin",
    "cosface",
    "cross_entropy",
    "head_output",
    "is_recorded",
    "is_transformed",
    "mixture",
    "nan_if_infinite",
    "top",
    "untransformed",
]


class SoftmaxMethod(Protocol):
    """The interface of a softmax method: a module with this function, which may take more keyword arguments."""

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
