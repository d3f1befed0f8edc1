"""The optimiser, and the learning rate as a function of progress."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from randhead.config import OptimConfig

WARM_UP = 0.25  # share of a one-cycle schedule in which the rate rises; Smith 2018 (arXiv 1803.09820)
ONE_CYCLE_START = 1 / 25  # also of a warm-up, so that the first step is one
ONE_CYCLE_END = 1e-4
TRACED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")  # methods of Optimizer, beside `step`


def optimiser(model: nn.Module, config: OptimConfig, *, diverged: Tensor | None = None) -> torch.optim.Optimizer:
    """Make the optimiser of a configuration: SGD with Nesterov momentum, or AdamW.

    A learned scale has no weight decay, which would pull it towards 1.

    Args:
        model: the model to be trained.
        config: name, learning rate, momentum and weight decay.
        diverged: a number on the device, float32; while it is 1, a step changes nothing.  The learning rate is a tensor
            on the device too then, so that a step waits for nothing, and can be captured as a CUDA graph.
    """
    decayed = [p for name, p in model.named_parameters() if not name.endswith("log_scale")]
    scales = [p for name, p in model.named_parameters() if name.endswith("log_scale")]
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": config.weight_decay}]
    if scales:
        groups.append({"params": scales, "weight_decay": 0.0})
    # Only fused optimisers can leave out a step on the device.
    fused = None if diverged is None else True
    lr = config.lr if diverged is None else torch.tensor(config.lr, dtype=torch.float32, device=diverged.device)
    made: Any
    if config.name == "adamw":
        made = without_compiler(torch.optim.AdamW)(groups, lr=lr, betas=(config.momentum, 0.999), fused=fused)
    else:
        sgd = without_compiler(torch.optim.SGD)
        made = sgd(groups, lr=lr, momentum=config.momentum, nesterov=config.momentum > 0, fused=fused)
    made.found_inf = diverged
    optimizer: torch.optim.Optimizer = made
    return optimizer


def without_compiler(kind: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """An optimiser whose first call does not import torch.compile's tracer, which takes 1.3 s and 150 MiB.

    Torch wraps these methods to keep them out of compiled graphs.  The optimiser is never part of one here: only the
    backbone is compiled.
    """
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in TRACED}
    methods["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), methods)


class Schedule:
    """The learning rate of every step.

    All schedules except "plateau" are functions of the progress, so they have no state.

    Args:
        optimizer: the optimiser whose learning rate is set.
        config: schedule, learning rate, and the patience and factor of "plateau".
    """

    def __init__(self, optimizer: torch.optim.Optimizer, config: OptimConfig):
        self.optimizer, self.config = optimizer, config
        self.warming = False  # whether the last step was one of the warm-up
        # It has the learning rate as a number; that of `optimizer` can be a tensor on a device.
        sgd = without_compiler(torch.optim.SGD)
        self.own = sgd([torch.zeros((), dtype=torch.float32, device="cpu")], lr=config.lr)
        self.plateau = ReduceLROnPlateau(
            self.own,
            mode="max",
            factor=config.plateau_factor,
            patience=config.plateau_patience,
            threshold_mode="abs",  # as in the official code: accuracy must rise by 1e-4
        )

    def before_step(self, progress: float) -> float:
        """Set the learning rate for a step at `progress` in [0, 1), and return it."""
        self.warming = progress < self.config.warmup
        if self.config.schedule != "plateau" or self.warming:
            self._set(self.config.lr * factor(self.config.schedule, progress, self.config.warmup))
        elif self.plateau.last_epoch == 0:  # nothing but the warm-up has changed it
            self._set(self.config.lr)
        return self.rate

    @property
    def rate(self) -> float:
        """The learning rate."""
        rate: float = self.own.param_groups[0]["lr"]
        return rate

    def after_epoch(self, accuracy: float) -> None:
        """Give the validation accuracy to the schedule "plateau", once the warm-up is over."""
        if self.config.schedule == "plateau" and not self.warming:
            self.plateau.step(accuracy)
            self._set(self.rate)

    def state(self) -> dict[str, Any]:
        """The state for a checkpoint, ready for JSON."""
        if self.config.schedule != "plateau":
            return {}
        state = {key: getattr(self.plateau, key) for key in ("best", "num_bad_epochs", "last_epoch")}
        state["best"] = None if math.isinf(state["best"]) else state["best"]
        return {**state, "lr": self.rate}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        if not state:
            return
        self.plateau.best = -math.inf if state["best"] is None else state["best"]
        self.plateau.num_bad_epochs, self.plateau.last_epoch = state["num_bad_epochs"], state["last_epoch"]
        self._set(state["lr"])

    def _set(self, rate: float) -> None:
        self.own.param_groups[0]["lr"] = rate
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


def factor(schedule: str, progress: float, warmup: float = 0.0) -> float:
    """The factor of the learning rate at `progress` in [0, 1): after the share `warmup`, the schedule of the rest."""
    if progress < warmup:
        return ONE_CYCLE_START + (1 - ONE_CYCLE_START) * progress / warmup
    progress = (progress - warmup) / (1 - warmup)
    if schedule == "cosine":
        return _cosine(1.0, 0.0, progress)
    if schedule == "onecycle":
        if progress < WARM_UP:
            return _cosine(ONE_CYCLE_START, 1.0, progress / WARM_UP)
        return _cosine(1.0, ONE_CYCLE_END, (progress - WARM_UP) / (1 - WARM_UP))
    return 1.0


def _cosine(start: float, end: float, progress: float) -> float:
    """From start to end along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
