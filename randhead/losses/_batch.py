"""A batch whose arguments have been checked, and what is done with the loss per sample."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LossBatch:
    """A batch of B samples, without leading dimensions, all of its arguments checked.

    Attributes:
        features: (B, D).
        num_classes: K.
        labels: (B,) int64 in 0..K-1; 0 for a sample that is left out, the most probable class for soft labels.
        soft: soft labels (B, K); None for hard ones.
        weights: of the samples (B,), 0 for those that are left out; None if all count the same.
        class_weights: (K,); None if all classes count the same.
        label_smoothing: share of the target probability that is spread over all classes.
        reduction: "mean", "sum" or "none".
        shape: the leading dimensions of the caller's features.
    """

    features: Tensor
    num_classes: int
    labels: Tensor
    soft: Tensor | None
    weights: Tensor | None
    class_weights: Tensor | None
    label_smoothing: float
    reduction: str
    shape: torch.Size

    @property
    def shares(self) -> Tensor | None:
        """What each sample adds to the divisor of the mean (B,); None for 1: its weight, times that of its class.

        With soft labels the weights of the classes do not count here, as in torch.
        """
        if self.class_weights is None or self.soft is not None:
            return self.weights
        of_labels = self.class_weights[self.labels]
        return of_labels if self.weights is None else self.weights * of_labels

    def reduced(self, losses: Tensor) -> Tensor:
        """The losses per sample (B,), with the weights of the classes, as the caller wants them."""
        weighted = losses if self.weights is None else self.weights * losses
        if self.reduction == "none":
            return weighted.reshape(self.shape)
        if self.reduction == "sum":
            return weighted.sum()
        return weighted.mean() if self.shares is None else weighted.sum() / self.shares.sum()
