"""Class vectors: one file, one geometry, one verb.

A geometry is a module with

* `BY_ROW`: True where a row depends on (seed, id, dim) alone and has the same bits on every machine.  Such rows are
  never stored, they are drawn again, for any 63-bit id: an index, or a hashed class name.  Where it is False the rows
  belong together, ids are 0..num_classes-1, and a checkpoint stores them;
* `rows(ids, dim, *, seed, num_classes)`: ids (N,) int64 -> (N, dim) float32 of unit norm, on the device of `ids`;
* `limit(dim)`: the largest number of classes, or None.
"""

import torch
from torch import Tensor

from randhead import catalog
from randhead.errors import UsageError

NEAREST_WITHOUT_LIMIT = "uniform, gaussian and rademacher hold any number of classes"


def draw(
    geometry: str, ids: Tensor | list[int], *, dim: int, seed: int = 0, num_classes: int | None = None
) -> Tensor:
    """Class vectors of some ids: ids (N,), any subset in any order -> (N, dim) float32 of unit norm.

    `geometry` is a member of `randhead.vectors`, or "file:PATH" for a matrix of the user's own.  Geometries whose rows
    belong together need `num_classes`.  Raises UsageError for an unknown geometry, for more classes than it can
    hold, and for ids out of range.
    """
    ids = torch.as_tensor(ids, dtype=torch.int64)
    check(geometry, dim=dim, num_classes=num_classes)
    name, _, source = geometry.partition(":")
    module = catalog.load("vectors", name)
    top = None if module.BY_ROW else num_classes
    if ids.numel() and (int(ids.min()) < 0 or (top is not None and int(ids.max()) >= top)):
        limits = "non-negative" if top is None else f"in 0..{top - 1}"
        raise UsageError(f"ids of {name} vectors must be {limits}, got {int(ids.min())}..{int(ids.max())}")
    extra = {"source": source} if source else {}
    return module.rows(ids, dim, seed=seed, num_classes=num_classes, **extra)


def check(geometry: str, *, dim: int, num_classes: int | None) -> None:
    """Raise UsageError where a geometry cannot hold `num_classes` vectors in `dim` dimensions, and say which can."""
    name, _, source = geometry.partition(":")
    module = catalog.load("vectors", name)
    if (name == "file") != bool(source):
        raise UsageError(f"vectors {geometry!r}: only the file geometry takes a path", hint="write file:PATH")
    if dim < 1:
        raise UsageError(f"class vectors need at least 1 dimension, got {dim}")
    if module.BY_ROW:
        return
    if num_classes is None:
        raise UsageError(f"{name} vectors belong together: num_classes is needed")
    limit = module.limit(dim)
    if limit is not None and num_classes > limit:
        raise UsageError(
            f"{name} holds at most {limit} classes in {dim} dimensions, {num_classes} are asked for",
            hint=f"use packed for well separated vectors beyond that; {NEAREST_WITHOUT_LIMIT}",
        )


def is_by_row(geometry: str) -> bool:
    """Whether a row of this geometry is a function of (seed, id, dim) alone, so that it need not be stored."""
    return catalog.load("vectors", geometry.partition(":")[0]).BY_ROW
