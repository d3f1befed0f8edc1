"""Checks of the arguments that class vectors are made of."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from randhead.arguments import MOST_CLASSES, check_type, composed, several, shown, whole
from randhead.config import check_value
from randhead.errors import UsageError
from randhead.losses import ClassRows, StoredRows
from randhead.vectors import Geometry, from_matrix, geometry

SHORTEST, LONGEST = 1e-12, 1e18  # norms, whose squares are numbers of float32


def check_options(**options: object) -> None:
    """Check arguments of a head that are settings of a configuration too.  Raises UsageError."""
    if isinstance(bias := options["bias"], bool):
        hint = "`bias=0.0` with `trainable=True` for a bias that is learned from 0; leave it out for none"
        raise UsageError(f"bias must be a number that is added to every logit, got {bias}", hint=hint)
    for name, value in options.items():
        if name == "normaliser_tolerance" and isinstance(value, float) and value == math.inf:  # which refuses nothing
            continue
        check_value("train.head_seed" if name == "seed" else f"head.{name}", value, name)


def as_geometry(vectors: str | Geometry | Tensor) -> Geometry:
    """The geometry of the class vectors that a user has named or given.  Raises UsageError for anything else."""
    if isinstance(vectors, Tensor):
        return from_matrix(vectors)
    rule = "the name of a geometry, such as 'uniform', a Geometry or a tensor (K, D)"
    hint = 'for an array or a list, `torch.as_tensor` of it; for a file, "file:PATH"'
    check_type("vectors", vectors, (str, Geometry), rule, hint=hint)
    return geometry(vectors)


def check_directions(rows: ClassRows) -> None:
    """Raise UsageError if a class vector is zero, so that it has no cosine."""
    if rows.device.type == "meta" or not isinstance(rows, StoredRows):  # drawn ones have unit norm
        return
    norms = torch.linalg.vector_norm(rows.matrix().detach().double(), dim=1)
    if len(zero := (norms == 0).nonzero()):
        raise UsageError(
            f"the class vector of class {int(zero[0])} is zero, and has no cosine",
            hint='give it a direction, or use `scoring="dot"`',
        )
    if len(extreme := ((norms < SHORTEST) | (norms > LONGEST)).nonzero()):
        raise UsageError(
            f"the class vector of class {int(extreme[0])} has the norm {norms[extreme[0, 0]].item():.3g}, which "
            "float32 cannot normalise",
            hint="multiply the class vectors by a factor: cosines do not depend on it",
        )


def check_features(features: object, dim: int, name: str = "features") -> None:
    """Raise UsageError unless features are a floating-point tensor (..., dim)."""
    check_type(name, features, Tensor, f"a tensor (..., {dim})", hint="`torch.as_tensor` makes one")
    assert isinstance(features, Tensor)  # noqa: S101
    if features.shape[-1:] != (dim,):
        hint = f"the head has dim={dim}: `ClassVectorHead(num_classes, dim)` scores features, not logits"
        if features.ndim > 2 and features.shape[1] == dim:
            hint = f"`{name}.movedim(1, -1)` puts the dimensions of the features last"
        raise UsageError(f"{name} must have shape (..., {dim}), got {tuple(features.shape)}", hint=hint)
    if not features.is_floating_point():
        raise UsageError(f"{name} must be floating-point, got {features.dtype}", hint=f"`{name}.float()`")


def check_samples(embedded: Tensor, dim: int) -> None:
    """Raise UsageError unless embedded features are (B, dim) and have numbers."""
    check_features(embedded, dim, "embedded")
    if embedded.ndim != 2:
        hint = f"`embedded.reshape(-1, {dim})` makes every leading dimension one of samples"
        raise UsageError(f"embedded must have shape (B, {dim}), got {tuple(embedded.shape)}", hint=hint)
    check_has_numbers("embedded features", embedded)


def check_has_numbers(name: str, given: Tensor) -> None:
    """Raise UsageError for a tensor on the meta device."""
    if given.is_meta:
        hint = 'make the head and the features with `device="cpu"`; only `forward` and `loss` work out shapes'
        raise UsageError(f"{name} are on the meta device, which holds no numbers", hint=hint)


def composed_names(argument: str, names: object) -> tuple[str, ...]:
    """Class names as they are hashed and compared.  Raises UsageError unless they are a list of text."""
    return tuple(map(composed, several(argument, names, "the names of the classes, as text", kinds=str)))


def check_different(names: tuple[str, ...], num_classes: int) -> None:
    """Raise UsageError unless there are as many different names as classes."""
    if len(set(names)) != num_classes:
        twice = next((name for name in names if names.count(name) > 1), None)
        hint = "give one name per class" if twice is None else f"{twice!r} is there more than once"
        raise UsageError(f"{num_classes} different class names are needed, got {len(set(names))}", hint=hint)


def with_more(
    classes: int | Iterable[str], num_classes: int, class_names: tuple[str, ...] | None
) -> tuple[int, tuple[str, ...] | None]:
    """The number and the names of classes after some more.  Raises UsageError for what is none, and for duplicates."""
    if class_names is None:
        hint = "this head knows its classes by index; with `class_names`, it would know them by name"
        if isinstance(classes, Iterable):
            raise UsageError(f"classes must be the number of new classes, got {shown(classes)}", hint=hint)
        return num_classes + whole("classes", classes, 1, MOST_CLASSES - num_classes), None
    new = composed_names("classes", classes)
    if not new:
        raise UsageError("classes must be the names of the new classes, got none", hint="give at least one name")
    repeated = [name for k, name in enumerate(new) if name in class_names or name in new[:k]]
    if repeated:
        raise UsageError(f"there is a class {repeated[0]!r} already", hint="give each class once")
    return num_classes + len(new), class_names + new
