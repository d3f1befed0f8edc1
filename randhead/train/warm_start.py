"""Warm start: training starts with the encoder of another run, and with its vectors for the classes in common."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from randhead.config import Config
from randhead.errors import RunError, UsageError
from randhead.model import Classifier
from randhead.runs import LoadedRun

OF_CLASSES = ("head.vectors", "head.bias", "head.vectors_spec")  # these belong to a set of classes, not to the encoder
COMPARED_AT_ONCE = 4096  # class vectors
NEAR = 0.5  # cosine of a learned vector and the one that it started from; drawn ones are far less alike
DECIDE_VECTORS = ("trainable", "class_keys", "vectors", "head_seed")  # settings by which a class gets its fixed vector


@dataclass(frozen=True)
class WarmStart:
    """What a training takes over from a run: its encoder, and the vectors of the classes that both have.

    `known` is None if the class vectors of one of the two belong to images, so that no class has the same in both.
    """

    run: str
    known: tuple[str, ...] | None
    new: tuple[str, ...]
    dropped: tuple[str, ...]
    scores: tuple[str, str]  # of the run and of this training, in words


@torch.no_grad()
def init_from_run(model: Classifier, class_names: Sequence[str], source: LoadedRun, config: Config) -> WarmStart:
    """Initialise a model with the encoder, the neck and the learned scale of a trained run.

    A class that both have keeps its vector: learned vectors are copied by class name, with their bias; fixed ones must
    be equal already.  A new class starts with a drawn vector that no known class has started with.

    Args:
        model: the model to initialise.
        class_names: names of its classes.
        source: the trained run.
        config: the configuration of the model.

    Returns:
        What was taken over.

    Raises:
        RunError: if the encoder of the run is different.
        UsageError: if a fixed vector would change.
    """
    kept = {name: tensor for name, tensor in source.model.state_dict().items() if name not in OF_CLASSES}
    initial = model.state_dict()
    check_settings(config, source.config, source.run.name)
    _check_width(model, source)
    if odd := [name for name, tensor in kept.items() if name not in initial or initial[name].shape != tensor.shape]:
        message = f"the encoder of {source.run.name} is not the one to train ({odd[0]} differs)"
        raise RunError(message, hint=f"use `image_size={source.image_size}` and the other settings of that run")
    taken = _taken(model, class_names, source, config)
    known = {name: k for k, name in enumerate(source.class_names)}
    shared = [k for k, name in enumerate(class_names) if name in known] if taken.known is not None else []
    ids = torch.tensor(shared, dtype=torch.int64, device="cpu")
    source_ids = torch.tensor([known[class_names[k]] for k in shared], dtype=torch.int64, device="cpu")
    if model.head.trainable:
        _take_vectors(model, ids, source.model.head.rows().gather(source_ids))
        if model.head.bias is not None and source.model.head.bias is not None:
            model.head.bias[ids] = source.model.head.bias[source_ids]
    else:
        same_set = model.head.geometry.by_row or len(class_names) == len(source.class_names)
        changed = [class_names[k] for k in _changed(model, ids, source, source_ids)]
        _refuse(changed, source, config, in_place=same_set and ids.equal(source_ids))
    model.load_state_dict({**model.state_dict(), **kept})
    return taken


def _take_vectors(model: Classifier, ids: Tensor, known: Tensor) -> None:
    """Set the learned vectors of the classes `ids` (N,) to those of a run, `known` (N, D).

    Vectors that are drawn by index start the known classes of the run too, at other indices if classes were put in
    between.  A new class whose vector is taken gets one that is free.
    """
    head = model.head
    if head.class_names is None and head.geometry.matrix is None and len(ids):
        drawn, taken = head.vectors.clone(), torch.zeros(head.num_classes, dtype=torch.bool, device="cpu")
        for part in F.normalize(known, dim=1).split(COMPARED_AT_ONCE):
            best = (part @ F.normalize(drawn, dim=1).T).max(dim=1)
            taken[best.indices[best.values > NEAR]] = True
        is_new = torch.ones_like(taken)
        is_new[ids] = False
        moved = (is_new & taken).nonzero()[:, 0]
        free = (~is_new & ~taken).nonzero()[:, 0]
        head.vectors[moved] = drawn[free[: len(moved)]]
    head.vectors[ids] = known


def _taken(model: Classifier, class_names: Sequence[str], source: LoadedRun, config: Config) -> WarmStart:
    """The classes that both have, those that only one has, and in what the scores differ."""
    old, now = set(source.class_names), set(class_names)
    of_classes = config.data.labels == source.config.data.labels == "class"
    return WarmStart(
        source.run.name,
        tuple(name for name in class_names if name in old) if of_classes else None,
        tuple(name for name in class_names if name not in old),
        tuple(name for name in source.class_names if name not in now),
        (_scores(source.config.head.scoring, source.model.head.scale), _scores(config.head.scoring, model.head.scale)),
    )


def check_settings(ours: Config, theirs: Config, name: str) -> None:
    """Raise RunError, which says what to use, if the run `name` has another network, neck or kind of scale.

    It needs no weights, so that it can be called before images are read.
    """
    found = {
        "backbone": (ours.backbone.name, theirs.backbone.name, f'`backbone="{theirs.backbone.name}"`'),
        "neck": (ours.head.neck, theirs.head.neck, f'`neck="{theirs.head.neck}"`'),
    }
    if theirs.head.learn_scale and not ours.head.learn_scale:
        found["scale"] = "fixed", "learned", "`head.learn_scale=true`"
    different = {part: entry for part, entry in found.items() if entry[0] != entry[1]}
    if different:
        said = "; ".join(f"{part} {old} there, {new} here" for part, (new, old, _) in different.items())
        use = " ".join(option for _, _, option in different.values())
        raise RunError(f"the encoder of {name} is not the one to train ({said})", hint=f"use {use}")


def _check_width(model: Classifier, source: LoadedRun) -> None:
    """Raise RunError for another number of features, which depends on the image size in some networks."""
    new, old = model.head.dim, source.model.head.dim
    if new != old:
        said = f"{old} features there, {new} here"
        hint = f"use `image_size={source.image_size}`"
        raise RunError(f"the encoder of {source.run.name} is not the one to train ({said})", hint=hint)


def _scores(scoring: str, scale: float) -> str:
    return f"{scoring} scoring with scale {scale:g}"


def _changed(model: Classifier, ids: Tensor, source: LoadedRun, source_ids: Tensor) -> list[int]:
    """The classes in `ids` (N,) of the model whose vectors differ from those of `source_ids` (N,) in the run."""
    rows, source_rows, changed = model.head.rows(), source.model.head.rows(), []
    for part, source_part in zip(ids.split(COMPARED_AT_ONCE), source_ids.split(COMPARED_AT_ONCE), strict=True):
        changed += part[(rows.gather(part) != source_rows.gather(source_part)).any(dim=1)].tolist()
    return changed


def _refuse(changed: list[str], source: LoadedRun, config: Config, *, in_place: bool) -> None:
    """Raise UsageError if there are classes whose vectors would change.

    The settings of the run give the same vectors if they are keyed by name, or if its classes are `in_place`.
    """
    if not changed:
        return
    settings = [(vars(of.head) | vars(of.train)) for of in (source.config, config)]
    other = [f"`{name}={settings[0][name]!r}`" for name in DECIDE_VECTORS if settings[0][name] != settings[1][name]]
    hint = "use `trainable=True`"
    if source.model.head.geometry.by_row:
        hint = f'train {source.run.name} again with `class_keys="name"`, and use that here too; or {hint}'
    if other and (in_place or source.config.head.class_keys == "name" or source.config.head.trainable):
        hint = f"use {' '.join(other)}, as that run"
    raise UsageError(
        f"{len(changed)} classes of {source.run.name} would get another vector ({', '.join(changed[:5])})", hint=hint
    )
