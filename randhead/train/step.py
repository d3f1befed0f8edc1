"""One step of the optimiser: the loss of one or more batches, its gradient, the update."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from randhead import rng
from randhead.config import Config
from randhead.errors import UsageError
from randhead.losses import expected
from randhead.model import Classifier
from randhead.preprocess import Preprocess
from randhead.train import graphs
from randhead.train.graphs import Batch
from randhead.train.log import StepMetrics
from randhead.train.optim import Schedule, optimiser
from randhead.train.phases import BACKWARD, FORWARD, LOSS, OPTIMISER, phase
from randhead.train.unread import StepLoss, mark


def waits_for_losses(device: torch.device) -> bool:
    """Whether the host reads the loss of a step before the update: on a CUDA device it would wait in every step."""
    return device.type != "cuda"


class Stepper:
    """Makes the optimiser steps of a training.

    Args:
        model: the classifier, on its device.
        config: optimiser, schedule, seed, and whether the backbone is compiled.
        preprocess: maps images to the input of the backbone.
        total_steps: number of steps of the whole training, for the schedule of the learning rate.
        batch_size: number of images of all batches but the last one of an epoch.

    Attributes:
        diverged: on a CUDA device, a number there: 1 as soon as a loss was not finite, so that later steps change
            nothing; None if the host checks each loss before the update.
    """

    def __init__(self, model: Classifier, config: Config, preprocess: Preprocess, total_steps: int, *, batch_size: int):
        self.model, self.preprocess, self.total_steps = model, preprocess, total_steps
        self.batch_size = batch_size
        self.optim, self.seed = config.optim, config.train.seed
        device = preprocess.device
        self.diverged = None if waits_for_losses(device) else torch.zeros((), dtype=torch.float32, device=device)
        self.backbone = torch.compile(model.backbone) if config.machine.compile else model.backbone
        self.parameters = list(model.parameters())
        self.optimizer = optimiser(model, config.optim, diverged=self.diverged)
        self.schedule = Schedule(self.optimizer, config.optim)
        self.make: Callable[[list[Batch]], graphs.Loss] = self.run
        if config.machine.cuda_graphs:
            graphs.check(config, model, device)
            self.make = graphs.GraphedSteps(
                self.run, self.optimizer, self.parameters, batch_size=batch_size, device=device
            )
        if config.machine.compile:
            self.make = _compiled(self.run)

    def step(self, batches: list[Batch], index: int) -> StepLoss:
        """Make step `index`, counted from 0, over one or more batches; if the loss is not finite, nothing changes."""
        self.model.train()
        # Only dropout draws from torch's generators; they are seeded by the step, so it is the same after a resume.
        # torch.manual_seed also formats the stack for devices that do not exist, which takes 0.2 ms per step.
        seed = rng.key(self.seed, f"step/{index}")[0]
        torch.default_generator.manual_seed(seed)
        if self.preprocess.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        self.schedule.before_step(index / self.total_steps)
        return StepLoss(index, sum(len(labels) for _, labels in batches), *self.make(batches))

    def run(self, batches: list[Batch]) -> graphs.Loss:
        """Compute loss and gradient, and update the weights if the loss is finite.

        Returns:
            As `backward`.
        """
        loss, bound = self.backward(batches)
        if self.diverged is not None:
            assert isinstance(loss, Tensor)  # noqa: S101
            mark(self.diverged, loss, bound, self.model.head.normaliser_tolerance)
        if isinstance(loss, Tensor) or math.isfinite(loss):
            self.update()
        return loss, bound

    def backward(self, batches: list[Batch]) -> graphs.Loss:
        """Compute the gradient over one or more batches.

        Returns:
            The mean loss and its largest error bound in nats; tensors on a CUDA device, the loss in float64.
        """
        self.optimizer.zero_grad(set_to_none=True)
        count = sum(len(labels) for _, labels in batches)
        mean: Tensor | float = 0.0
        bound: Tensor | float = 0.0
        for images, labels in batches:
            loss = self.loss(images, labels) * (len(labels) / count)
            with phase(BACKWARD):
                loss.backward()
            mean = mean + (loss.item() if self.diverged is None else loss.detach().double())
            bound = _larger(bound, self.model.head.last_error_bound)
        return mean, bound

    def update(self) -> None:
        """Clip the gradient, if `clip_norm` is set, and update the weights."""
        if self.diverged is not None:
            _align_gradients(self.parameters)
        with phase(OPTIMISER):
            if self.optim.clip_norm:
                torch.nn.utils.clip_grad_norm_(self.parameters, self.optim.clip_norm)
            self.optimizer.step()

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of one batch, a scalar."""
        # A second size would be compiled too, with sizes as variables, and all batches after it would use that.
        backbone = self.backbone if len(labels) == self.batch_size else self.model.backbone
        with self.preprocess.autocast():
            with phase(FORWARD):
                features = backbone(self.preprocess.prepare(images))
            with phase(LOSS):
                return self.model.head.loss(
                    features, labels, label_smoothing=self.optim.label_smoothing, check_values=self.diverged is None
                )

    def check_error_bound(self, bound: float) -> None:
        """Raise UsageError if the error bound of a loss, in nats, is above the tolerance."""
        if bound:
            head = self.model.head
            expected.refuse(bound, head.normaliser_tolerance, head.raw_rows())

    def metrics(self) -> StepMetrics:
        """The learning rate and the gradient norms of the last step."""
        head = self.model.head
        return StepMetrics(
            lr=self.schedule.rate,
            grad_norm_backbone=_gradient_norm(list(self.model.backbone.parameters())),
            grad_norm_vectors=_gradient_norm([head.vectors]) if head.trainable else None,
            normaliser_error_bound=float(head.last_error_bound) if head.normaliser == "expected" else None,
        )


def _compiled(make: Callable[[list[Batch]], graphs.Loss]) -> Callable[[list[Batch]], graphs.Loss]:
    """Steps of a compiled network, which raise UsageError if it cannot be compiled, as without a C++ compiler."""
    from torch._dynamo.exc import TorchDynamoException  # torch.compile has imported it

    def step(batches: list[Batch]) -> graphs.Loss:
        try:
            return make(batches)
        except TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0]
            hint = "leave out `machine.compile`, or install what it needs: on a CPU, a C++ compiler"
            raise UsageError(f"the network cannot be compiled: {reason}", hint=hint) from None

    return step


def _align_gradients(parameters: list[nn.Parameter]) -> None:
    """Give gradients the strides of their parameters: fused optimisers go through the memory of both in its order.

    autograd and compiled networks leave others to dimensions of one entry, which CUDA's optimisers refuse.
    """
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None and gradient.stride() != parameter.stride():
            parameter.grad = torch.empty_like(parameter).copy_(gradient)


def _larger(a: Tensor | float, b: Tensor | float) -> Tensor | float:
    """The larger of two bounds, NaN if one of two tensors is.  A number beside a tensor is the 0 of no bound."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.maximum(a, b)
    return b if isinstance(b, Tensor) else a if isinstance(a, Tensor) else max(a, b)


def _gradient_norm(parameters: list[Tensor]) -> float:
    """The joint L2 norm of the gradients of some parameters."""
    gradients = [p.grad.norm() for p in parameters if p.grad is not None]
    return float(torch.linalg.vector_norm(torch.stack(gradients))) if gradients else 0.0
