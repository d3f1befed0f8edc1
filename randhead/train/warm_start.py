"""Training on from another run: its encoder, and, class by class, its class vectors."""

from collections.abc import Sequence

import torch
from torch import Tensor

from randhead.errors import RunError, UsageError
from randhead.model import Classifier
from randhead.runs import LoadedRun

OF_CLASSES = ("head.vectors", "head.bias", "head.spec")  # what belongs to a set of classes, not to the encoder
COMPARED_AT_ONCE = 4096  # class vectors


@torch.no_grad()
def take_over(model: Classifier, class_names: Sequence[str], source: LoadedRun) -> None:
    """Start a model with the encoder, the neck and the learned scale of a trained run.

    A class that both know keeps its vector: learned ones are copied by class name, fixed ones have to be equal already.
    Raises RunError for another encoder, UsageError where a fixed vector would move.
    """
    own = model.state_dict()
    kept = {name: tensor for name, tensor in source.model.state_dict().items() if name not in OF_CLASSES}
    if any(name not in own or own[name].shape != tensor.shape for name, tensor in kept.items()):
        message = f"the encoder of {source.run.name} is not the one to train"
        raise RunError(message, hint="use the --backbone, the --neck and the image size of that run")
    known = {name: k for k, name in enumerate(source.class_names)}
    here = [k for k, name in enumerate(class_names) if name in known]
    ours, theirs = (torch.tensor(ids, dtype=torch.int64) for ids in (here, [known[class_names[k]] for k in here]))
    if model.head.trainable:
        model.head.vectors[ours] = source.model.head.rows().take(theirs)
    else:
        _refuse([class_names[k] for k in _moved(ours, model, theirs, source)], source)
    model.load_state_dict({**own, **kept})


def _moved(ours: Tensor, model: Classifier, theirs: Tensor, source: LoadedRun) -> list[int]:
    """Which of the classes `ours` (N,) have another vector than `theirs` (N,) have in a run."""
    rows, others, moved = model.head.rows(), source.model.head.rows(), []
    for mine, other in zip(ours.split(COMPARED_AT_ONCE), theirs.split(COMPARED_AT_ONCE), strict=True):
        moved += mine[(rows.take(mine) != others.take(other)).any(dim=1)].tolist()
    return moved


def _refuse(moved: list[str], source: LoadedRun) -> None:
    if moved:
        raise UsageError(
            f"{len(moved)} classes of {source.run.name} would get another vector ({', '.join(moved[:5])})",
            hint="train both runs with --class-keys name and the same --vectors and --head-seed",
        )
