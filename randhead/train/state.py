"""The state of a training, and restoring it from a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from randhead.config import Config, parse
from randhead.config.resolved import ResolvedSettings
from randhead.errors import RunError
from randhead.runs import SelectedEpoch, checkpoint
from randhead.runs.folder import TRAIN_AGAIN
from randhead.train import resume
from randhead.train.log import StepMetrics


@dataclass
class TrainState:
    """The progress of a training.  A checkpoint has this, the weights and the state of the optimiser."""

    step: int = 0
    epoch: int = 0  # epochs that are finished and validated
    loss_sum: float = 0.0  # of the current epoch, over images
    images: int = 0  # of the current epoch
    last_step: StepMetrics | None = None  # of the current epoch, after its last step
    seconds: float = 0.0  # total time of all steps, including those before the run was resumed
    best: SelectedEpoch | None = None
    schedule: dict[str, Any] = field(default_factory=dict)
    best_weights: dict[str, Tensor] = field(default_factory=dict)  # of the model after the best epoch, on the CPU

    def selected(self) -> SelectedEpoch:
        """The best epoch.  Raises RunError if the checkpoint has none."""
        if self.best is None:
            raise RunError("the checkpoint has no best epoch", hint=TRAIN_AGAIN)
        return self.best

    def end_of_epoch(self) -> StepMetrics:
        """The metrics of the last step of the epoch.  Raises RunError if the checkpoint does not have them."""
        if self.last_step is None:
            raise RunError("the checkpoint lacks the metrics of its last step", hint=TRAIN_AGAIN)
        return self.last_step

    def to_json(self) -> dict[str, Any]:
        """The numbers, without the weights."""
        numbers = {name: value for name, value in vars(self).items() if name != "best_weights"}
        nested = {name: part.to_json() if part else {} for name, part in self._parts().items()}
        return {**numbers, **nested}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], best_weights: dict[str, Tensor]) -> "TrainState":
        """The inverse of `to_json`.  Raises KeyError or TypeError for other content."""
        best, last_step = content["best"], content["last_step"]
        nested = {
            "best": SelectedEpoch.from_json(best) if best else None,
            "last_step": StepMetrics(**last_step) if last_step else None,
        }
        return cls(**{**content, **nested}, best_weights=best_weights)

    def _parts(self) -> dict[str, StepMetrics | SelectedEpoch | None]:
        return {"last_step": self.last_step, "best": self.best}


def restore_state(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, config: Config, settings: ResolvedSettings
) -> TrainState:
    """Restore a model and its optimiser from a checkpoint.

    Returns:
        The state of the training.

    Raises:
        RunError: if the file is damaged, or belongs to a training with other settings or images.
    """
    tensors, document = checkpoint.load(path)
    try:
        different = _differences(document, config, settings)
        if different:
            raise RunError(f"{path}: belongs to another training ({'; '.join(different)})")
        state = TrainState.from_json(document["progress"], checkpoint.select(tensors, "best/"))
        model.load_state_dict(checkpoint.select(tensors, "model/"))
        _restore_optimiser(optimizer, checkpoint.select(tensors, "optim/"))
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise RunError(f"{path}: does not fit this run ({' '.join(str(error).split())})") from None
    return state


def _differences(document: Mapping[str, Any], config: Config, settings: ResolvedSettings) -> list[str]:
    """The settings and properties of the data in which a checkpoint differs; settings of the machine do not count."""
    saved_config = parse.build(parse.unnest(document["config"]))
    saved = ResolvedSettings.from_json(document["resolved"])
    return [*parse.differences(config, saved_config), *resume.changed_images(saved, settings)]


def optimiser_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of SGD or AdamW, which consists of tensors only: "<parameter>/<name>"."""
    return {
        f"{index}/{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }


def _restore_optimiser(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition("/")
        like = parameters[int(index)]
        # Fused optimisers go through memory in its order, which has to be that of the parameter.
        tensor = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape and like.ndim else tensor
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
