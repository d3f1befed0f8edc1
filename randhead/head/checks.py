"""Checks of the arguments that class vectors are made of."""

from collections.abc import Iterable

import torch
from torch import Tensor

from randhead.arguments import check_type, composed, several, shown, whole
from randhead.errors import UsageError
from randhead.losses import ClassRows, StoredRows
from randhead.vectors import Geometry, from_matrix, geometry

SHORTEST, LONGEST = 1e-12, 1e18  # norms, whose squares are numbers of float32


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
    if rows.device.type == "meta":
        return
    if not isinstance(rows, StoredRows):
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
        return num_classes + whole("classes", classes, 1), None
    new = composed_names("classes", classes)
    if not new:
        raise UsageError("classes must be the names of the new classes, got none", hint="give at least one name")
    repeated = [name for k, name in enumerate(new) if name in class_names or name in new[:k]]
    if repeated:
        raise UsageError(f"there is a class {repeated[0]!r} already", hint="give each class once")
    return num_classes + len(new), class_names + new
