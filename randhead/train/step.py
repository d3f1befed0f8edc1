"""One step of the optimiser: the loss of one or more batches, its gradient, the update."""

import torch
from torch import Tensor

from randhead import rng
from randhead.config import Config
from randhead.model import Classifier
from randhead.preprocess import Preprocess
from randhead.train.log import StepMetrics
from randhead.train.optim import Schedule, optimiser

Batch = tuple[Tensor, Tensor]  # uint8 images (b, 3, H, W) and labels (b,)


class Stepper:
    """Makes the optimiser steps of a training, each in two parts: `backward`, then `update`.

    Args:
        model: the classifier, on its device.
        config: optimiser, schedule, seed, and whether the backbone is compiled.
        preprocess: maps images to the input of the backbone.
        total_steps: number of steps of the whole training, for the schedule of the learning rate.
    """

    def __init__(self, model: Classifier, config: Config, preprocess: Preprocess, total_steps: int):
        self.model, self.preprocess, self.total_steps = model, preprocess, total_steps
        self.optim, self.seed = config.optim, config.train.seed
        self.backbone = torch.compile(model.backbone) if config.machine.compile else model.backbone
        self.optimizer = optimiser(model, config.optim)
        self.schedule = Schedule(self.optimizer, config.optim)

    def backward(self, batches: list[Batch], step: int) -> float:
        """Compute the gradient of step `step`, counted from 0, over one or more batches.

        Returns:
            The mean loss in nats.
        """
        self.model.train()
        # Only dropout draws from torch's generators; they are seeded by the step, so it is the same after a resume.
        # torch.manual_seed also formats the stack for devices that do not exist, which takes 0.2 ms per step.
        seed = rng.key(self.seed, f"step/{step}")[0]
        torch.default_generator.manual_seed(seed)
        if self.preprocess.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        self.schedule.before_step(step / self.total_steps)
        self.optimizer.zero_grad(set_to_none=True)
        count = sum(len(labels) for _, labels in batches)
        mean = 0.0
        for images, labels in batches:
            loss = self.loss(images, labels) * (len(labels) / count)
            loss.backward()
            mean += loss.item()
        return mean

    def update(self) -> None:
        """Clip the gradient, if `clip_norm` is set, and update the weights."""
        if self.optim.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.optim.clip_norm)
        self.optimizer.step()

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of one batch, a scalar."""
        with self.preprocess.autocast():
            features = self.backbone(self.preprocess.prepare(images))
            return self.model.head.loss(features, labels, label_smoothing=self.optim.label_smoothing)

    def metrics(self) -> StepMetrics:
        """The learning rate and the gradient norms of the last step."""
        head = self.model.head
        return StepMetrics(
            lr=self.optimizer.param_groups[0]["lr"],
            grad_norm_backbone=_gradient_norm(list(self.model.backbone.parameters())),
            grad_norm_vectors=_gradient_norm([head.vectors]) if head.trainable else None,
            normaliser_error_bound=head.last_error_bound if head.normaliser == "expected" else None,
        )


def _gradient_norm(parameters: list[Tensor]) -> float:
    """The joint L2 norm of the gradients of some parameters."""
    gradients = [p.grad.norm() for p in parameters if p.grad is not None]
    return float(torch.linalg.vector_norm(torch.stack(gradients))) if gradients else 0.0
