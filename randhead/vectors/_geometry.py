"""What is known about a geometry of class vectors, as one object that is made from the geometry's own file."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType, NoneType
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from randhead import registry
from randhead.arguments import shown
from randhead.errors import ContractError, RandheadError, UsageError
from randhead.user_files import described

LogMeanExp = Callable[[Tensor], Tensor | tuple[Tensor, Tensor]]
# What a module states, by the names of the fields of `Geometry`.
STATED = {
    "rows": "rows",
    "limit": "limit",
    "by_row": "BY_ROW",
    "independent": "INDEPENDENT",
    "log_mean_exp": "log_mean_exp",
    "mean_row": "mean_row",
    "signs": "SIGNS",
    "cuda_draw": "CUDA_DRAW",
    "fast_tiles": "fast_tiles",
    "check_size": "check_size",
}

# How the functions are called.
CALLS = {
    "rows": "rows(ids, dim, seed=seed, out=out)",
    "limit": "limit(dim)",
    "check_size": "check_size(dim, num_classes)",
    "log_mean_exp": "log_mean_exp(queries)",
    "mean_row": "mean_row(dim)",
}
SET_CALL = "rows(ids, dim, seed=seed, num_classes=num_classes)"


class CudaDraw(NamedTuple):
    """How a kernel draws the rows of a geometry on a CUDA device.

    Attributes:
        entries: "signs" (one bit each, +-1), "integers" (in -100..99) or "normals" (quantiles of 16 bits); rows of the
            last two are divided by their norm.
        purpose: of the random words, as in `rng.words`.
    """

    entries: Literal["signs", "integers", "normals"]
    purpose: str


class Tile(Protocol):
    """The class vectors of some neighbouring classes, in a sweep over all classes."""

    classes: int

    def logits(self, queries: Tensor, out: Tensor) -> Tensor:
        """The product queries @ rows.T in the dtype of `out`: (B, D) -> (B, T), which the caller may overwrite."""
        ...

    def add(self, out: Tensor, weights: Tensor) -> None:
        """Add weights (B, T) @ rows to `out` (B, D)."""
        ...


class FastTiles(Protocol):
    """A fast product of all class vectors, keyed by index, in tiles."""

    def __call__(
        self, draw: Callable[[Tensor], Tensor], num_classes: int, dim: int, **precision: Any
    ) -> Iterator[tuple[int, Tile]]:
        """Tiles, each with its first class.

        Args:
            draw: maps ids (N,) int64 to rows (N, dim) float32.
            num_classes: K.
            dim: D.
            precision: `row_scale` that tiles are divided by, and `dtype` and `device` of the tiles.
        """
        ...


@dataclass(frozen=True)
class Geometry:
    """Everything known about a geometry of class vectors; `str` gives its name.

    `randhead.vectors.geometry` finds one by name and `randhead.vectors.from_matrix` makes one of a tensor.  A head also
    takes one that is built by hand, without registering anything.  What is not known stays None.

    Attributes:
        name: the geometry as the user writes it: "uniform", "file:w.npy", "given".
        rows: `RowGeometry.rows` if `by_row`, else `SetGeometry.rows`.
        limit: D -> the largest number of classes, or None; raises UsageError for dimensions that are not supported.
        by_row: whether rows depend only on (seed, id, dim).
        independent: whether the rows of different ids are independent draws.
        log_mean_exp: queries z (B, D) -> log E exp(z.w) (B,) over the draws w, differentiable; or this and a bound on
            its error, (B,) each.  It says that rows are independent draws, and the expected softmax needs it.
        mean_row: D -> the mean E w of a draw (D,) float32; without it, the mean of all K rows is computed.
        signs: whether all entries are +-1/sqrt(D).
        cuda_draw: how a kernel draws rows on a CUDA device.
        fast_tiles: a fast product of all rows.
        check_size: (D, K) -> raises an error if class vectors of another size are stored.
        matrix: the class vectors (K, D), if they were given as a tensor.
        origin: the file or module that states this, for messages.

    Raises:
        UsageError: for values of another type, for a closed form without independent rows, and for the name of a
            geometry of randhead beside anything that is not its own.

    Example:
        >>> import torch
        >>> def rows(ids, dim, *, seed, out):
        ...     out.copy_(torch.nn.functional.one_hot(ids % dim, dim))
        >>> str(Geometry("axes", rows, limit=lambda dim: dim, by_row=True))
        'axes'
    """

    name: str
    rows: Callable[..., Any]
    limit: Callable[[int], int | None]
    by_row: bool
    independent: bool | None = None
    log_mean_exp: LogMeanExp | None = None
    mean_row: Callable[[int], Tensor] | None = None
    signs: bool = False
    cuda_draw: CudaDraw | None = None
    fast_tiles: FastTiles | None = None
    check_size: Callable[[int, int], None] | None = None
    matrix: Tensor | None = field(default=None, compare=False)
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise UsageError(f"the name of a geometry must be text, got {shown(self.name)}", hint='for example "mine"')
        if problem := wrong({name: getattr(self, name) for name in STATED}):
            raise UsageError(f"the geometry {self.name!r}: {problem}", hint="see `randhead.vectors.Geometry`")
        if not self._may_have_its_name():
            raise UsageError(
                f"a geometry of randhead is named {self.name!r}, and this is another one",
                hint=f'give it another `name`; for the one of randhead, `randhead.vectors.geometry("{self.name}")`',
            )

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Geometry({self.name!r})"

    def _may_have_its_name(self) -> bool:
        """Whether the name means this geometry to everyone who reads it in a checkpoint."""
        member, source = registry.split(self.name)
        if not registry.is_builtin("vectors", member):
            return True
        module = registry.load("vectors", member)
        if self.matrix is not None:  # as a checkpoint stores it
            return not module.BY_ROW
        mine = {name: getattr(value, "func", value) for name, value in stated(self).items()}
        return mine == stated_by(module) and bool(source) == (member == "file")


def geometry(given: str | Geometry) -> Geometry:
    """Everything known about a geometry.

    Args:
        given: a member of `randhead.vectors`, "file:PATH" for the user's own matrix, or a `Geometry`, returned as is.

    Returns:
        The geometry.

    Raises:
        UsageError: for an unknown name, and for anything but a name or a `Geometry`.

    Example:
        >>> geometry("simplex").by_row, geometry("rademacher").signs
        (False, True)
    """
    if isinstance(given, Geometry):
        return given
    value: Any = given
    if isinstance(value, Tensor):
        hint = "`randhead.vectors.from_matrix` makes a geometry of class vectors (K, D)"
        raise UsageError("a geometry must be a name or a Geometry, got a tensor", hint=hint)
    member, source = registry.split(given)
    if given == member != "file" and registry.is_builtin("vectors", member):
        return _built_in(member)
    module = registry.load("vectors", member)
    if (member == "file") != bool(source):
        raise UsageError(f"vectors {given!r}: only the file geometry takes a path", hint='use `vectors="file:PATH"`')
    known = stated_by(module)
    if source:
        known |= {name: partial(known[name], source=source) for name in ("rows", "check_size")}
    return Geometry(given, origin=registry.origin("vectors", member), **known)


@functools.cache
def _built_in(name: str) -> Geometry:
    """A geometry of the package, made once: 14 microseconds."""
    return Geometry(name, **stated_by(registry.load("vectors", name)))


def called(geometry: Geometry, part: str, *given: Any, **options: Any) -> Any:
    """The result of a function that a geometry states.

    Raises:
        ContractError: for an exception in that of a geometry from outside the package, apart from a lack of memory.
    """
    try:
        return getattr(geometry, part)(*given, **options)
    except (RandheadError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if not is_outside(geometry):
            raise
        call = CALLS[part] if part != "rows" or geometry.by_row else SET_CALL
        hint = f"it is called as `{call}`: see `randhead.vectors.Geometry`"
        raise ContractError(f"{source_of(geometry)}: {part} raised {described(error)}", hint=hint) from error


def is_outside(geometry: Geometry) -> bool:
    """Whether the functions of a geometry are not those of this package."""
    return geometry.matrix is None and not registry.is_builtin("vectors", registry.split(geometry.name)[0])


def source_of(geometry: Geometry) -> str:
    """Where a geometry from outside the package comes from, for messages."""
    return geometry.origin or f"the geometry {geometry.name!r}"


def stated_by(module: ModuleType) -> dict[str, Any]:
    """What a module states, as fields of `Geometry`."""
    return {name: getattr(module, spelled) for name, spelled in STATED.items() if hasattr(module, spelled)}


def stated(geometry: Geometry) -> dict[str, Any]:
    """The fields of a geometry that a module can state, and that are known."""
    values = {name: getattr(geometry, name) for name in STATED}
    return {name: value for name, value in values.items() if value is not None and (value or name != "signs")}


def wrong(values: Mapping[str, Any], spelled: Mapping[str, str] | None = None) -> str | None:
    """What is wrong with the values of a geometry, named as `spelled` says; None if they are right."""
    spelled = spelled or {}
    for name, value in values.items():
        called = spelled.get(name, name)
        if name in ("by_row", "signs", "independent"):
            if not isinstance(value, (bool, NoneType) if name == "independent" else bool):
                return f"{called} must be True or False, got {shown(value)}"
        elif name == "cuda_draw":
            if not isinstance(value, (CudaDraw, NoneType)):
                return f"{called} must be a CudaDraw, got {shown(value)}"
        elif not callable(value) and (value is not None or name in ("rows", "limit")):
            return f"{called} must be a function, got {shown(value)}"
    if values.get("log_mean_exp") and not (values["by_row"] and values.get("independent") is not False):
        return "log_mean_exp is the closed form for rows that are independent draws, and these are none"
    return None
