"""The layer between features and class vectors."""

from collections.abc import Callable

from torch import Tensor, nn

from randhead.errors import UsageError
from randhead.head.checks import check_features

NECKS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda dim: nn.Identity(),
    "linear": lambda dim: nn.Linear(dim, dim),
    "batchnorm": nn.BatchNorm1d,
}


def apply_neck(neck: nn.Module, features: Tensor, dim: int) -> Tensor:
    """Features after the neck: (..., D) -> (..., D).

    Args:
        neck: from `NECKS`; to batch normalisation all leading dimensions are samples.
        features: (..., D), floating-point.
        dim: D.

    Raises:
        UsageError: for features of another type or shape, and for a single sample while batch normalisation is trained.

    Example:
        >>> import torch
        >>> apply_neck(NECKS["batchnorm"](4), torch.zeros(2, 3, 4), 4).shape
        torch.Size([2, 3, 4])
    """
    check_features(features, dim)
    if not isinstance(neck, nn.BatchNorm1d):
        embedded: Tensor = neck(features)
        return embedded
    if neck.training and features.numel() == dim:
        hint = "`head.eval()`, or a batch of at least two samples"
        raise UsageError("a batchnorm neck cannot be trained with one sample", hint=hint)
    return neck(features.reshape(-1, dim)).reshape(features.shape)
