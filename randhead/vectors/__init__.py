"""Class vectors: one file per geometry, each with one function, `rows`.

A geometry is a module that follows `RowGeometry` (rows are independent draws) or `SetGeometry` (rows are drawn
together).
"""

from pathlib import Path
from types import ModuleType
from typing import Literal, Protocol

import torch
from torch import Tensor

from randhead import registry
from randhead.arguments import shown, whole
from randhead.errors import UsageError
from randhead.vectors._bounds import cosine_bound, random_angle, simplex_cosine, welch_bound
from randhead.vectors._cosines import cosine_tiles

__all__ = [
    "NEAREST_WITHOUT_LIMIT",
    "RowGeometry",
    "SetGeometry",
    "check",
    "cosine_bound",
    "cosine_tiles",
    "draw",
    "is_by_row",
    "is_stored",
    "random_angle",
    "simplex_cosine",
    "welch_bound",
]

NEAREST_WITHOUT_LIMIT = "uniform, gaussian and rademacher hold any number of classes"
TILE = 1 << 20  # entries drawn at once: temporary integers take 8 bytes per entry and more


class RowGeometry(Protocol):
    """A geometry whose rows depend only on (seed, id, dim) and have the same bits on every machine.

    They are drawn again rather than stored, for any 63-bit id: a class index or a hashed class name.
    """

    BY_ROW: Literal[True]

    @staticmethod
    def rows(ids: Tensor, dim: int, *, seed: int, out: Tensor) -> None:
        """Write the unit vectors of `ids` (N,) int64 to `out` (N, dim) float32, on the device of both."""
        ...

    @staticmethod
    def limit(dim: int) -> int | None:
        """The largest number of classes, or None.  Raises UsageError for dimensions that are not supported."""
        ...


class SetGeometry(Protocol):
    """A geometry whose rows are drawn together: ids are 0..num_classes-1, and a checkpoint stores the rows."""

    BY_ROW: Literal[False]

    @staticmethod
    def rows(ids: Tensor, dim: int, *, seed: int, num_classes: int) -> Tensor:
        """The vectors of `ids` (N,) int64: (N, dim) float32, of unit norm except for those from the user's file."""
        ...

    @staticmethod
    def limit(dim: int) -> int | None:
        """The largest number of classes, or None.  Raises UsageError for dimensions that are not supported."""
        ...


def draw(
    geometry: str,
    ids: Tensor | list[int],
    *,
    dim: int,
    seed: int = 0,
    num_classes: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Draw the class vectors of some ids, in any order.

    Args:
        geometry: a member of `randhead.vectors`, or "file:PATH" for the user's own matrix, whose rows keep their norm.
        ids: (N,) class indices or hashed class names.
        dim: D, the width of the vectors.
        seed: seed of the class vectors.
        num_classes: K, needed by geometries whose rows are drawn together.
        out: (N, D) float32, on the device of `ids`, to write to.

    Returns:
        (N, D) float32 of unit norm, on the device of `ids`; `out` if it is given.

    Raises:
        UsageError: for an unknown geometry, more classes than it can hold, ids out of range, and arguments of a
            wrong type.
        DataError: for a file that cannot be used.

    Example:
        >>> rows = draw("rademacher", [5, 2], dim=4, seed=0)
        >>> rows.shape, torch.equal(rows[1:], draw("rademacher", [2], dim=4, seed=0))
        (torch.Size([2, 4]), True)
    """
    ids, seed = _as_ids(ids), whole("seed", seed)
    check(geometry, dim=dim, num_classes=num_classes)
    module, source = _resolve(geometry)
    top = _limit(geometry, module, dim) if module.BY_ROW else num_classes
    if ids.numel() and (int(ids.min()) < 0 or (top is not None and int(ids.max()) >= top)):
        limits = "non-negative" if top is None else f"in 0..{top - 1}"
        raise UsageError(
            f"ids of {geometry} vectors in {dim} dimensions must be {limits}, got {int(ids.min())}..{int(ids.max())}",
            hint=f"hashed class names need ids without limit: {NEAREST_WITHOUT_LIMIT}" if module.BY_ROW else None,
        )
    if out is not None and (not isinstance(out, Tensor) or out.shape != (len(ids), dim)):
        got = f"a shape of {tuple(out.shape)}" if isinstance(out, Tensor) else shown(out)
        raise UsageError(f"out must be a tensor of shape ({len(ids)}, {dim}), got {got}")
    outside = not registry.is_builtin("vectors", registry.split(geometry)[0])
    if not module.BY_ROW:
        extra = {"source": source} if source else {}
        drawn = module.rows(ids, dim, seed=seed, num_classes=num_classes, **extra)
        if outside:
            registry.expect("vectors", geometry, _wrong_rows(drawn, (len(ids), dim)))
        return drawn if out is None else out.copy_(drawn)
    out = torch.empty(len(ids), dim, device=ids.device) if out is None else out
    size = max(TILE // dim, 1)
    for tile, part in zip(out.split(size), ids.split(size), strict=True):
        if outside:
            tile.fill_(torch.nan)  # so that rows that are not written are found
        module.rows(part, dim, seed=seed, out=tile)
        if outside:
            registry.expect("vectors", geometry, _wrong_rows(tile, (len(part), dim), "write to `out`"))
    return out


def wrong_value(member: ModuleType) -> str | None:
    """What is wrong with the values that a geometry from outside the package defines; None if they are right."""
    return None if isinstance(member.BY_ROW, bool) else f"BY_ROW must be True or False, got {member.BY_ROW!r}"


def check(geometry: str, *, dim: int, num_classes: int | None) -> None:
    """Raise UsageError if a geometry cannot hold `num_classes` vectors in `dim` dimensions, and name one that can.

    Args:
        geometry: as in `draw`.
        dim: D.
        num_classes: K; None if it is not known, which only geometries of independent rows allow.

    Raises:
        UsageError: see above.
        DataError: for a file that cannot be used.
    """
    module, source = _resolve(geometry)
    dim = whole("dim", dim, 1)
    if num_classes is None and not module.BY_ROW:
        raise UsageError(f"{geometry} vectors are drawn as a set: `num_classes` is needed")
    if num_classes is not None:
        num_classes = whole("num_classes", num_classes, 1)
    if source:
        module.read(Path(source), dim, num_classes)
    limit = _limit(geometry, module, dim)
    if limit is not None and num_classes is not None and num_classes > limit:
        packed = registry.load("vectors", "packed").limit(dim)
        better = "use packed for well separated vectors beyond that; " if limit < num_classes <= packed else ""
        raise UsageError(
            f"{geometry} holds at most {limit} classes in {dim} dimensions, {num_classes} were requested",
            hint=better + NEAREST_WITHOUT_LIMIT,
        )


def is_by_row(geometry: str) -> bool:
    """Whether a row of this geometry depends only on (seed, id, dim)."""
    return registry.load("vectors", registry.split(geometry)[0]).BY_ROW


def is_stored(geometry: str) -> bool:
    """Whether a checkpoint stores class vectors of this geometry, because they cannot always be drawn again.

    Those of a geometry from outside the package are always stored: a checkpoint can be read without that geometry.
    """
    return not registry.is_builtin("vectors", registry.split(geometry)[0]) or not is_by_row(geometry)


def _resolve(geometry: str) -> tuple[ModuleType, str]:
    """The module of a geometry, and the path of the user's file or ""."""
    name, source = registry.split(geometry)
    module = registry.load("vectors", name)
    if (name == "file") != bool(source):
        raise UsageError(f"vectors {geometry!r}: only the file geometry takes a path", hint='use `vectors="file:PATH"`')
    return module, source


def _limit(geometry: str, module: ModuleType, dim: int) -> int | None:
    """The largest number of classes of a geometry, or None."""
    limit: int | None = module.limit(dim)
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool)):
        problem = f"limit({dim}) must be None or a number of classes, got {limit!r}"
        registry.expect("vectors", registry.split(geometry)[0], problem)
    return limit


def _wrong_rows(rows: object, shape: tuple[int, int], verb: str = "return") -> str | None:
    """What is wrong with the rows that a geometry from outside the package has drawn; None if they are right."""
    wanted = f"rows must {verb} float32 of shape {shape}"
    if not isinstance(rows, Tensor):
        return f"{wanted}, got {type(rows).__name__}"
    if rows.dtype != torch.float32 or rows.shape != shape:
        return f"{wanted}, got {str(rows.dtype).removeprefix('torch.')} of shape {tuple(rows.shape)}"
    finite = rows.isfinite().all(dim=1)
    return None if finite.all() else f"{wanted}; row {int((~finite).nonzero()[0])} has numbers that are not finite"


def _as_ids(ids: Tensor | list[int]) -> Tensor:
    """Ids as an int64 tensor of shape (N,)."""
    try:
        given = torch.as_tensor(ids)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UsageError(f"ids must be integers below 2^63 ({error})") from error
    if given.ndim != 1 or (given.numel() and (given.is_floating_point() or given.is_complex())):
        raise UsageError(f"ids must be integers of shape (N,), got {given.dtype} of shape {tuple(given.shape)}")
    return given.to(torch.int64)
