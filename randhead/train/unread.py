"""The losses of steps that the host has not read: a step on a CUDA device does not wait for its loss.

A loss that is not finite sets a flag on the device, while which the optimiser changes nothing.  The host reads losses
together, every so many steps and before anything is written, and then stops the training.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

READ_EVERY = 100  # steps: at most so many are computed in vain after a loss that is not finite


class StepLoss(NamedTuple):
    """The loss of a step.

    Attributes:
        step: index of the step.
        images: number of images.
        loss: mean loss in nats.
        error_bound: of the loss, in nats; 0 except for the softmax method "expected".
    """

    step: int
    images: int
    loss: Tensor | float
    error_bound: Tensor | float = 0.0


class UnreadLosses:
    """Losses of the last steps, oldest first."""

    def __init__(self) -> None:
        self.steps: list[StepLoss] = []

    def add(self, loss: StepLoss) -> None:
        """Add the loss of a step."""
        self.steps.append(loss)

    def read(self) -> list[tuple[StepLoss, float, float]]:
        """All losses since the last call, each with its number and that of its error bound.

        It waits for the device, once.
        """
        steps, self.steps = self.steps, []
        losses, bounds = _numbers([each.loss for each in steps]), _numbers([each.error_bound for each in steps])
        return list(zip(steps, losses, bounds, strict=True))


def mark(diverged: Tensor, loss: Tensor, error_bound: Tensor | float = 0.0, tolerance: float = math.inf) -> None:
    """Set a flag on the device, for good, if a loss is not finite, or its error bound is above the tolerance.

    Example:
        >>> flag = torch.zeros(())
        >>> for loss in (1.0, torch.inf, 1.0):
        ...     mark(flag, torch.tensor(loss))
        >>> flag
        tensor(1.)
    """
    diverged.masked_fill_(~loss.isfinite(), 1.0)
    if isinstance(error_bound, Tensor):
        diverged.masked_fill_(~(error_bound <= tolerance), 1.0)


def _numbers(values: list[Tensor | float]) -> list[float]:
    """The values as numbers, in one copy from the device."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    read = iter(torch.stack(tensors).tolist() if tensors else [])
    return [next(read) if isinstance(value, Tensor) else value for value in values]
