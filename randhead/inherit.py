"""Training on from another run: its encoder, and, class by class, its class vectors."""

from collections.abc import Sequence

import torch

from randhead.errors import RunError, UsageError
from randhead.loading import LoadedRun
from randhead.model import Classifier

OF_CLASSES = ("head.vectors", "head.bias", "head.spec")  # what belongs to a set of classes, not to the encoder


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
    theirs = source.model.head.class_vectors()[[known[class_names[k]] for k in here]]
    if model.head.trainable:
        model.head.vectors[here] = theirs
    else:
        moved = (model.head.class_vectors()[here] != theirs).any(dim=1).tolist()
        _refuse([class_names[k] for k, differs in zip(here, moved, strict=True) if differs], source)
    model.load_state_dict({**own, **kept})


def _refuse(moved: list[str], source: LoadedRun) -> None:
    if moved:
        raise UsageError(
            f"{len(moved)} classes of {source.run.name} would get another vector ({', '.join(moved[:5])})",
            hint="train both runs with --class-keys name and the same --vectors and --head-seed",
        )
