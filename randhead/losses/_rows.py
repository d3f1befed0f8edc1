"""Class vectors as a source of rows: stored as a matrix, or drawn again whenever they are needed."""

import functools
from typing import Protocol

import torch
from torch import Tensor

from randhead import vectors
from randhead.errors import UsageError
from randhead.losses import kernels
from randhead.losses._tracing import untransformed
from randhead.vectors import Geometry

MATERIALISED_BYTES = 256 << 20  # drawn rows up to this size are kept after the first call of `matrix`
MEAN_TILE = 1 << 20  # entries drawn at once for the mean


class ClassRows(Protocol):
    """K class vectors of D dimensions, one row per class: what every softmax method reads."""

    num_classes: int
    dim: int

    @property
    def device(self) -> torch.device:
        """The device of the rows."""
        ...

    @property
    def geometry(self) -> Geometry | None:
        """The geometry that the rows are drawn by; None for learned rows."""
        ...

    @property
    def is_materialisable(self) -> bool:
        """Whether all rows can stay in memory: `matrix` draws nothing, or keeps what it draws."""
        ...

    def largest_norm(self) -> float:
        """An upper bound for the norm of every row, up to rounding."""
        ...

    def row_scale(self, dtype: torch.dtype) -> float:
        """The factor that turns rows of `tile(..., dtype)` into class vectors."""
        ...

    def tile(self, start: int, stop: int, dtype: torch.dtype, space: Tensor | None = None) -> Tensor:
        """Rows start..stop-1 divided by `row_scale(dtype)`, without gradient: (stop - start, D) of `dtype`.

        Args:
            start: the first class.
            stop: the class after the last.
            dtype: of the result.
            space: float32 buffer of at least as many rows, which drawn rows may be written to.
        """
        ...

    def gather(self, classes: Tensor) -> Tensor:
        """The rows of some classes: (N,) int64 -> (N, D)."""
        ...

    def matrix(self) -> Tensor:
        """All rows: (K, D)."""
        ...

    def mean(self) -> Tensor:
        """The mean row: (D,)."""
        ...

    def to(self, device: torch.device) -> "ClassRows":
        """The same rows on another device."""
        ...


class StoredRows:
    """Rows stored as a matrix, learned or fixed.

    Args:
        matrix: class vectors (K, D).
        unit_norm: whether every row has norm 1, which is not checked.
        geometry: what is known about them; None for learned ones.

    Example:
        >>> StoredRows(torch.eye(3)).gather(torch.tensor([2]))
        tensor([[0., 0., 1.]])
    """

    is_materialisable = True

    def __init__(self, matrix: Tensor, *, unit_norm: bool = False, geometry: Geometry | None = None):
        self.stored, self.geometry = matrix, geometry
        self.num_classes, self.dim = matrix.shape
        self.unit_norm = unit_norm

    @property
    def device(self) -> torch.device:
        """The device of the rows."""
        return self.stored.device

    def largest_norm(self) -> float:
        """An upper bound for the norm of every row."""
        return 1.0 if self.unit_norm else torch.linalg.vector_norm(self.stored.detach(), dim=1).max().item()

    def row_scale(self, dtype: torch.dtype) -> float:
        """1: tiles hold the class vectors as they are."""
        return 1.0

    def tile(self, start: int, stop: int, dtype: torch.dtype, space: Tensor | None = None) -> Tensor:
        """Rows start..stop-1."""
        return self.stored.detach()[start:stop].to(dtype)

    def gather(self, classes: Tensor) -> Tensor:
        """The rows of some classes: (N,) int64 -> (N, D)."""
        return self.stored.index_select(0, classes)

    def matrix(self) -> Tensor:
        """All rows: (K, D)."""
        return self.stored

    def mean(self) -> Tensor:
        """The mean row: (D,)."""
        return self.stored.mean(dim=0)

    def to(self, device: torch.device) -> "StoredRows":
        """The same rows on another device."""
        with torch.inference_mode(False):  # what is kept can be used in training
            stored = self.stored.to(device)
        return StoredRows(stored, unit_norm=self.unit_norm, geometry=self.geometry)


class DrawnRows:
    """Rows of unit norm that are functions of (seed, id), drawn whenever they are needed.

    Args:
        geometry: of independent rows, or its name.
        num_classes: K.
        dim: D.
        seed: seed of the class vectors.
        ids: hashed class names (K,) int64; None for class indices.
        device: where rows are drawn.

    Example:
        >>> DrawnRows("rademacher", 1_000_000, 4).gather(torch.tensor([7, 999_999])).abs()
        tensor([[0.5000, 0.5000, 0.5000, 0.5000],
                [0.5000, 0.5000, 0.5000, 0.5000]])
    """

    def __init__(
        self,
        geometry: str | Geometry,
        num_classes: int,
        dim: int,
        *,
        seed: int = 0,
        ids: Tensor | None = None,
        device: torch.device | str = "cpu",
    ):
        self.geometry, self.num_classes, self.dim = vectors.geometry(geometry), num_classes, dim
        self.seed, self.device = seed, torch.device(device)
        self.names = None if ids is None else ids.to(device)
        self._matrix: Tensor | None = None
        self._mean: Tensor | None = None

    def draw(self, ids: Tensor, out: Tensor | None = None) -> Tensor:
        """The rows of some ids: (N,) int64 -> (N, D) float32, written to `out` if it is given.

        Raises:
            UsageError: while torch records operations for `torch.export` or `torch.jit.trace`: class vectors are
                computed there by the thousands of operations of a draw, or have no numbers.
        """
        if torch.compiler.is_exporting() or torch.jit.is_tracing():
            raise UsageError(
                "class vectors that are not kept in memory cannot be exported, before `head.materialise()`",
                hint="call `head.materialise()` first",
            )
        if self.has_kernel(ids):
            from randhead.losses.kernels.draw import by_id

            return by_id(self.geometry, ids, self.dim, self.seed, out)
        draw = functools.partial(vectors.draw, self.geometry, dim=self.dim, seed=self.seed)
        if torch.compiler.is_compiling():  # compiling a draw would take longer than drawing
            # With fullgraph=True this text is the error.
            torch._dynamo.graph_break(msg="class vectors are drawn outside of a graph: call `head.materialise()` first")
            return torch.compiler.disable(draw)(ids, out=out)
        return draw(ids, out=out)

    def has_kernel(self, tensor: Tensor) -> bool:
        """Whether a kernel draws rows on the device of a tensor that has numbers."""
        return self.geometry.cuda_draw is not None and kernels.can_read(tensor)

    @property
    def is_kept(self) -> bool:
        """Whether all rows are in memory."""
        return self._matrix is not None

    @property
    def is_materialisable(self) -> bool:
        """Whether `matrix` keeps what it draws."""
        return self.is_kept or self.is_small

    @property
    def is_small(self) -> bool:
        """Whether all rows take at most MATERIALISED_BYTES."""
        return 4 * self.num_classes * self.dim <= MATERIALISED_BYTES

    def largest_norm(self) -> float:
        """1, up to rounding."""
        return 1.0

    def row_scale(self, dtype: torch.dtype) -> float:
        """1/sqrt(D) for signs in bfloat16, else 1.

        In bfloat16 1/sqrt(D) would be off by up to 0.2 percent in every entry alike; +-1 is exact.
        """
        if dtype != torch.bfloat16 or not self.geometry.signs:
            return 1.0
        return vectors.sign_entry(self.dim)

    def ids(self, start: int, stop: int) -> Tensor:
        """The ids of rows start..stop-1: (stop - start,) int64."""
        return (
            torch.arange(start, stop, dtype=torch.int64, device=self.device)
            if self.names is None
            else self.names[start:stop]
        )

    def tile(self, start: int, stop: int, dtype: torch.dtype, space: Tensor | None = None) -> Tensor:
        """Rows start..stop-1 divided by `row_scale(dtype)`."""
        if self._matrix is not None:
            rows = self._matrix[start:stop]
        else:
            rows = self.draw(self.ids(start, stop), out=None if space is None else space[: stop - start])
        return (rows if self.row_scale(dtype) == 1 else rows.sign()).to(dtype)

    def gather(self, classes: Tensor) -> Tensor:
        """The rows of some classes: (N,) int64 -> (N, D)."""
        if self._matrix is not None:
            return self._matrix.index_select(0, classes)
        return self.draw(classes if self.names is None else self.names[classes])

    def matrix(self) -> Tensor:
        """All rows: (K, D).  They are kept for the next call if they take at most MATERIALISED_BYTES."""
        if self._matrix is not None:
            return self._matrix
        return self.materialise() if self.is_materialisable else self.draw(self.ids(0, self.num_classes))

    def materialise(self) -> Tensor:
        """Draw all rows, if that was not done before, and keep them: (K, D)."""
        if self._matrix is None:
            with untransformed(), torch.inference_mode(False), torch.no_grad():  # what is kept can be used in training
                rows = self.draw(self.ids(0, self.num_classes))
            if type(rows) is not Tensor:  # torch traces with tensors that have no numbers
                return rows
            self._matrix = rows
        return self._matrix

    def mean(self) -> Tensor:
        """The mean row: (D,).  The first call draws all rows."""
        if self._mean is None:
            with untransformed(), torch.inference_mode(False):  # what is kept can be used in training
                self._mean = self._computed_mean()
        return self._mean

    def to(self, device: torch.device) -> "DrawnRows":
        """The same rows on another device."""
        if device == self.device:
            return self
        moved = DrawnRows(self.geometry, self.num_classes, self.dim, seed=self.seed, ids=self.names, device=device)
        with torch.inference_mode(False):
            moved._matrix = None if self._matrix is None else self._matrix.to(device)
        return moved

    def _computed_mean(self) -> Tensor:
        total, size = torch.zeros(self.dim, dtype=torch.float64, device=self.device), max(MEAN_TILE // self.dim, 1)
        for start in range(0, self.num_classes, size):
            rows = self.tile(start, min(start + size, self.num_classes), torch.float32)
            total += rows.sum(dim=0, dtype=torch.float64)
        return (total / self.num_classes).to(torch.float32)
