"""What a checkpoint of a training holds, and how it is taken up again."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from randhead.config import parse
from randhead.errors import DivergedError, RandheadError, RunError
from randhead.files import atomic_write
from randhead.runs import Run, checkpoint

DATA_FACTS = ("class_names", "image_size", "images")  # what a training on a folder that has changed would meet


@dataclass
class Progress:
    """How far a training is: with the weights and the optimiser's state, all that a checkpoint keeps."""

    step: int = 0
    epoch: int = 0  # epochs that are finished and validated
    loss_sum: float = 0.0  # of the running epoch, over images
    images: int = 0  # of the running epoch
    last_step: dict[str, float] = field(default_factory=dict)  # rate and gradients of the last step of an epoch
    seconds: float = 0.0  # in steps, over all starts of this run
    best: dict[str, Any] = field(default_factory=dict)  # epoch, accuracy and nll of the selected weights
    schedule: dict[str, Any] = field(default_factory=dict)


def save(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    best_weights: dict[str, Tensor],
    progress: Progress,
    description: dict[str, Any],
) -> None:
    """Write a checkpoint.  Raises DivergedError, and writes nothing, where a weight is not a finite number."""
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    if not all(tensor.isfinite().all() for tensor in state.values()):
        raise DivergedError(
            f"the weights are not finite after step {progress.step}",
            hint="start again with a lower learning rate: --set optim.lr=..., --fresh",
        )
    tensors = {
        **checkpoint.prefixed(state, "model/"),
        **checkpoint.prefixed(best_weights, "best/"),
        **checkpoint.prefixed(_optimiser_tensors(optimizer), "optim/"),
    }
    checkpoint.save(path, tensors, {**description, "progress": asdict(progress)})


def restore(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, description: dict[str, Any]
) -> tuple[Progress, dict[str, Tensor]]:
    """Take a checkpoint up into a model and its optimiser; returns the progress and the best weights so far.

    Raises RunError for a file that is damaged, or was saved under another description: other settings, other images.
    """
    tensors, document = checkpoint.load(path)
    try:
        different = _differences(document, description)
        if different:
            raise RunError(f"{path}: is of another training ({'; '.join(different)})")
        progress = Progress(**document["progress"])
        model.load_state_dict(checkpoint.select(tensors, "model/"))
        _restore_optimiser(optimizer, checkpoint.select(tensors, "optim/"))
    except RandheadError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise RunError(f"{path}: does not fit this run ({' '.join(str(error).split())})") from None
    return progress, checkpoint.select(tensors, "best/")


def truncate_log(path: Path, epochs: int) -> None:
    """Keep the lines of the epochs that are finished: a kill can leave a later one, or half of one."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["epoch"] <= epochs:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    atomic_write(path, "".join(kept))


def start_anew(run: Run) -> None:
    """Delete what a training left in a run folder (`--fresh`).  Reports and features of the old weights go as well.

    The configuration goes last: a folder in which this was cut short is still known as a run.
    """
    for folder in (run.checkpoints, run.reports, run.features):
        for file in sorted(folder.rglob("*"), reverse=True) if folder.is_dir() else ():
            file.rmdir() if file.is_dir() else file.unlink()
    for file in [run.summary_path, run.model_path, run.metrics_path, run.path / "README.md", run.config_path]:
        file.unlink(missing_ok=True)


def _differences(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """In what two descriptions of a training differ, but for what the machine decides."""
    left, right = parse.build(parse.unnest(theirs["config"])), parse.build(parse.unnest(ours["config"]))
    facts = [key for key in DATA_FACTS if theirs["resolved"][key] != ours["resolved"][key]]
    return [*parse.differences(right, left), *(f"other {key.replace('_', ' ')}" for key in facts)]


def _optimiser_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of SGD and AdamW, which is tensors only: "<parameter>/<name>"."""
    return {
        f"{index}/{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }


def _restore_optimiser(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
