"""Warm start: training starts with the encoder of another run, and with its vectors for the classes in common."""

from collections.abc import Sequence

import torch
from torch import Tensor

from randhead.errors import RunError, UsageError
from randhead.model import Classifier
from randhead.runs import LoadedRun

OF_CLASSES = ("head.vectors", "head.bias", "head.vectors_spec")  # these belong to a set of classes, not to the encoder
COMPARED_AT_ONCE = 4096  # class vectors


@torch.no_grad()
def init_from_run(model: Classifier, class_names: Sequence[str], source: LoadedRun) -> None:
    """Initialise a model with the encoder, the neck and the learned scale of a trained run.

    A class that both have keeps its vector: learned vectors are copied by class name, fixed ones must be equal already.

    Args:
        model: the model to initialise.
        class_names: names of its classes.
        source: the trained run.

    Raises:
        RunError: if the encoder of the run is different.
        UsageError: if a fixed vector would change.
    """
    initial = model.state_dict()
    kept = {name: tensor for name, tensor in source.model.state_dict().items() if name not in OF_CLASSES}
    if any(name not in initial or initial[name].shape != tensor.shape for name, tensor in kept.items()):
        message = f"the encoder of {source.run.name} is not the one to train"
        raise RunError(message, hint="use the `backbone`, the `neck` and the `image_size` of that run")
    known = {name: k for k, name in enumerate(source.class_names)}
    shared = [k for k, name in enumerate(class_names) if name in known]
    ids = torch.tensor(shared, dtype=torch.int64, device="cpu")
    source_ids = torch.tensor([known[class_names[k]] for k in shared], dtype=torch.int64, device="cpu")
    if model.head.trainable:
        model.head.vectors[ids] = source.model.head.rows().gather(source_ids)
    else:
        _refuse([class_names[k] for k in _changed(model, ids, source, source_ids)], source)
    model.load_state_dict({**initial, **kept})


def _changed(model: Classifier, ids: Tensor, source: LoadedRun, source_ids: Tensor) -> list[int]:
    """The classes in `ids` (N,) of the model whose vectors differ from those of `source_ids` (N,) in the run."""
    rows, source_rows, changed = model.head.rows(), source.model.head.rows(), []
    for part, source_part in zip(ids.split(COMPARED_AT_ONCE), source_ids.split(COMPARED_AT_ONCE), strict=True):
        changed += part[(rows.gather(part) != source_rows.gather(source_part)).any(dim=1)].tolist()
    return changed


def _refuse(changed: list[str], source: LoadedRun) -> None:
    if changed:
        raise UsageError(
            f"{len(changed)} classes of {source.run.name} would get another vector ({', '.join(changed[:5])})",
            hint='train both runs with `class_keys="name"` and the same `vectors` and `head_seed`',
        )
