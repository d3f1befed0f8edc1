"""Class vectors: one file per geometry, which states everything that is known about it.

A geometry is a module that follows `RowGeometry` (a row depends only on its id) or `SetGeometry` (rows are drawn
together): `BY_ROW`, `rows` and `limit`.  It may also state more, which the rest of the package then uses:

* `INDEPENDENT`: whether the rows of different ids are independent draws;
* `log_mean_exp(queries)`: log E exp(z.w) of such draws w in closed form, for the expected softmax;
* `mean_row(dim)`: their mean E w;
* `check_size(dim, num_classes)`: raises an error if the geometry holds vectors of another size only;
* for geometries of this package, whose vectors are not stored: `SIGNS` (all entries are +-1/sqrt(D)), `CUDA_DRAW` and
  `fast_tiles`.

`Geometry` holds all of this as one object, and describes each part.
"""

import contextlib
from types import ModuleType
from typing import Literal, Protocol

import torch
from torch import Tensor

from randhead import ambient, registry
from randhead.arguments import MOST_CLASSES, check_type, shown, whole
from randhead.arrays import is_integer
from randhead.errors import ContractError, UsageError
from randhead.vectors import _geometry
from randhead.vectors._bounds import cosine_bound, random_angle, simplex_cosine, welch_bound
from randhead.vectors._cosines import cosine_tiles
from randhead.vectors._exact import sign_entry
from randhead.vectors._geometry import CudaDraw, FastTiles, Geometry, LogMeanExp, Tile, called, geometry
from randhead.vectors._matrix import from_matrix

__all__ = [
    "NEAREST_WITHOUT_LIMIT",
    "CudaDraw",
    "FastTiles",
    "Geometry",
    "LogMeanExp",
    "RowGeometry",
    "SetGeometry",
    "Tile",
    "called",
    "check",
    "cosine_bound",
    "cosine_tiles",
    "draw",
    "from_matrix",
    "geometry",
    "is_stored",
    "random_angle",
    "sign_entry",
    "simplex_cosine",
    "welch_bound",
]

NEAREST_WITHOUT_LIMIT = "uniform, gaussian and rademacher hold any number of classes"
NOTHING = contextlib.nullcontext()
MOST_DIMS = 2**31 - 1
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
    geometry: str | Geometry,
    ids: Tensor | list[int],
    *,
    dim: int,
    seed: int = 0,
    num_classes: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Draw the class vectors of some ids, in any order.  Torch's default dtype and device do not matter.

    Args:
        geometry: a member of `randhead.vectors`, "file:PATH" for the user's own matrix, whose rows keep their norm, or
            a `Geometry`.
        ids: (N,) class indices or hashed class names.
        dim: D, the width of the vectors.
        seed: seed of the class vectors.
        num_classes: K, needed by geometries whose rows are drawn together.
        out: (N, D) float32, on the device of `ids`, to write to.

    Returns:
        (N, D) float32 of unit norm, on the device of `ids`; `out` if it is given.

    Raises:
        UsageError: for an unknown geometry, more classes than it holds, ids out of range, and wrong types.
        DataError: for a file that cannot be used.

    Example:
        >>> rows = draw("rademacher", [5, 2], dim=4, seed=0)
        >>> rows.shape, torch.equal(rows[1:], draw("rademacher", [2], dim=4, seed=0))
        (torch.Size([2, 4]), True)
    """
    known, ids, seed = _geometry.geometry(geometry), _as_ids(ids), whole("seed", seed)
    check(known, dim=dim, num_classes=num_classes)
    _check_ids(known, ids, dim, _limit(known, dim) if known.by_row else num_classes)
    _check_out(out, (len(ids), dim), ids.device)
    outside = _geometry.is_outside(known)
    with ambient.without_autocast(ids.device), ambient.ordinary(ids.device) if outside else NOTHING:
        if known.by_row:
            space = _space(len(ids), dim, ids.device) if out is None else out
            return _draw_by_row(known, ids, seed, space, outside)
        drawn = called(known, "rows", ids, dim, seed=seed, num_classes=num_classes)
    if outside:
        _expect(known, _wrong_rows(drawn, (len(ids), dim), ids.device))
    return drawn if out is None else out.copy_(drawn)


def _space(rows: int, dim: int, device: torch.device) -> Tensor:
    """Memory for vectors.  Raises UsageError if there is not so much."""
    try:
        return torch.empty(rows, dim, dtype=torch.float32, device=device)
    except RuntimeError:
        message = f"{rows} vectors of dim {dim} do not fit into memory: they take {rows * dim / 2**28:.1f} GiB"
        raise UsageError(message, hint="draw fewer ids at once, or use a smaller `dim`") from None


def wrong_value(member: ModuleType) -> str | None:
    """What is wrong with the values that a geometry from outside the package defines; None if they are right."""
    return _geometry.wrong(_geometry.stated_by(member), _geometry.STATED)


def check(geometry: str | Geometry, *, dim: int, num_classes: int | None) -> None:
    """Raise UsageError if a geometry cannot hold `num_classes` vectors in `dim` dimensions, and name one that can.

    Args:
        geometry: as in `draw`.
        dim: D.
        num_classes: K; None if it is not known, which only geometries of independent rows allow.

    Raises:
        UsageError: see above.
        DataError: for a file that cannot be used.
    """
    known, dim = _geometry.geometry(geometry), whole("dim", dim, 1, MOST_DIMS)
    if num_classes is None:
        if not known.by_row:
            hint = "give the number of classes of the whole set, `num_classes=...`"
            raise UsageError(f"{known} vectors are drawn as a set: `num_classes` is needed", hint=hint)
        _limit(known, dim)
        return
    num_classes = whole("num_classes", num_classes, 1, MOST_CLASSES)
    if known.check_size is not None:
        called(known, "check_size", dim, num_classes)
    limit = _limit(known, dim)
    if limit is not None and num_classes > limit:
        packed = registry.load("vectors", "packed").limit(dim)
        better = "use packed for well separated vectors beyond that; " if limit < num_classes <= packed else ""
        raise UsageError(
            f"{known} holds at most {limit} classes in {dim} dimensions, {num_classes} were requested",
            hint=better + NEAREST_WITHOUT_LIMIT,
        )


def is_stored(geometry: str | Geometry) -> bool:
    """Whether a checkpoint stores class vectors of this geometry, because they cannot always be drawn again.

    Those of a geometry from outside the package are always stored: a checkpoint can be read without that geometry.
    Of a name, no file is executed and no member from outside is loaded.
    """
    check_type("geometry", geometry, (str, Geometry), "a name or a `Geometry`")
    member, _ = registry.split(str(geometry))
    return not registry.is_builtin("vectors", member) or not registry.load("vectors", member).BY_ROW


def _draw_by_row(geometry: Geometry, ids: Tensor, seed: int, out: Tensor, outside: bool) -> Tensor:
    """Write the rows of some ids to `out` (N, D), tile by tile, and return it.  Rows from outside are checked."""
    dim = out.shape[1]
    size = max(TILE // dim, 1)
    for tile, part in zip(out.split(size), ids.split(size), strict=True):
        if outside:
            tile.fill_(torch.nan)  # so that rows that are not written are found
        called(geometry, "rows", part, dim, seed=seed, out=tile)
        if outside:
            _expect(geometry, _wrong_rows(tile, (len(part), dim), ids.device, "write to `out`"))
    return out


def _limit(geometry: Geometry, dim: int) -> int | None:
    """The largest number of classes of a geometry, or None."""
    limit: int | None = called(geometry, "limit", dim)
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool)):
        _expect(geometry, f"limit({dim}) must be None or a number of classes, got {limit!r}")
    return limit


def _expect(geometry: Geometry, problem: str | None) -> None:
    """Raise ContractError if there is a problem with what a geometry from outside the package has returned."""
    if problem:
        raise ContractError(f"{_geometry.source_of(geometry)}: {problem}", hint="see the docstring of randhead.vectors")


def _wrong_rows(rows: object, shape: tuple[int, int], device: torch.device, verb: str = "return") -> str | None:
    """What is wrong with the rows that a geometry from outside the package has drawn; None if they are right."""
    wanted = f"rows must {verb} float32 of shape {shape}"
    if not isinstance(rows, Tensor):
        return f"{wanted}, got {type(rows).__name__}"
    if rows.dtype != torch.float32 or rows.shape != shape:
        return f"{wanted}, got {str(rows.dtype).removeprefix('torch.')} of shape {tuple(rows.shape)}"
    if rows.device != device:
        return f"rows must {verb} a tensor on the device of the ids, {device}, got {rows.device}"
    finite = rows.isfinite().all(dim=1)
    return None if finite.all() else f"{wanted}; row {int((~finite).nonzero()[0])} has numbers that are not finite"


def _as_ids(ids: Tensor | list[int]) -> Tensor:
    """Ids as an int64 tensor of shape (N,)."""
    hint = "class indices, such as `range(10)`; for names, `randhead.rng.name_id` of each"
    try:  # of a list, on the CPU also if torch's default device is another
        given = ids if isinstance(ids, Tensor) else torch.as_tensor(ids, dtype=None, device="cpu")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UsageError(f"ids must be integers below 2^63, got {shown(ids)}", hint=hint) from error
    if given.ndim != 1 or (given.numel() and not is_integer(given)):
        got = f"{str(given.dtype).removeprefix('torch.')} of shape {tuple(given.shape)}"
        raise UsageError(f"ids must be integers of shape (N,), got {got}", hint=hint)
    if given.is_meta:
        raise UsageError("ids are on the meta device, which holds no numbers", hint='make them with `device="cpu"`')
    return given.to(torch.int64)


def _check_out(out: Tensor | None, shape: tuple[int, int], device: torch.device) -> None:
    """Raise UsageError unless `out` is None or a float32 tensor of this shape on this device."""
    if out is None:
        return
    wanted = f"out must be a tensor of shape {shape}, float32 on {device}"
    hint = f"for example `out=torch.empty{shape}`"
    if not isinstance(out, Tensor):
        raise UsageError(f"{wanted}, got {shown(out)}", hint=hint)
    if out.shape != shape or out.dtype != torch.float32 or out.device != device:
        got = f"{str(out.dtype).removeprefix('torch.')} on {out.device}"
        raise UsageError(f"{wanted}, got a shape of {tuple(out.shape)}, {got}", hint=hint)


def _check_ids(geometry: Geometry, ids: Tensor, dim: int, top: int | None) -> None:
    """Raise UsageError for ids outside of 0..top-1."""
    if not ids.numel():
        return
    lowest, highest = map(int, ids.aminmax())
    if lowest < 0 or (top is not None and highest >= top):
        limits = "non-negative" if top is None else f"in 0..{top - 1}"
        raise UsageError(
            f"ids of {geometry} vectors in {dim} dimensions must be {limits}, got {lowest}..{highest}",
            hint=f"hashed class names need ids without limit: {NEAREST_WITHOUT_LIMIT}" if geometry.by_row else None,
        )
