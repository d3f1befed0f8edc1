"""Class vectors as a source of rows: stored as a matrix, or drawn again whenever they are needed.

Both kinds have `num_classes` K, `dim` D, `geometry` (its name where rows are independent draws of it, else None),
`largest_norm()`, and

* `tile(start, stop, dtype, space)`: some rows, over `unit(dtype)`: (stop - start, D) of that dtype.  Drawn ones may be
  written to `space`, float32 of at least as many rows;
* `take(classes)`: the rows of some classes (N,) -> (N, D);
* `matrix()`: all of them, (K, D);
* `mean()`: the mean row (D,).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

HELD_BYTES = 256 << 20  # drawn rows up to this size are kept once they were asked for all together
MEAN_TILE = 1 << 20  # entries drawn at once for the mean
SIGNS = ("rademacher", "hadamard")  # entries are +-1/sqrt(D)


class StoredRows:
    """Rows that are at hand: matrix (K, D), learned or fixed."""

    geometry = None

    def __init__(self, matrix: Tensor, *, unit_norm: bool = False):
        self.stored = matrix
        self.num_classes, self.dim = matrix.shape
        self.unit_norm = unit_norm

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.stored.device

    def largest_norm(self) -> float:
        """The norm that no row exceeds."""
        return 1.0 if self.unit_norm else torch.linalg.vector_norm(self.stored.detach(), dim=1).max().item()

    def unit(self, dtype: torch.dtype) -> float:
        """What tiles have to be multiplied by."""
        return 1.0

    def tile(self, start: int, stop: int, dtype: torch.dtype, space: Tensor | None = None) -> Tensor:
        """Rows start..stop-1."""
        return self.stored.detach()[start:stop].to(dtype)

    def take(self, classes: Tensor) -> Tensor:
        """The rows of some classes."""
        return self.stored.index_select(0, classes)

    def matrix(self) -> Tensor:
        """All rows."""
        return self.stored

    def mean(self) -> Tensor:
        """The mean row."""
        return self.stored.mean(dim=0)

    def to(self, device: torch.device) -> "StoredRows":
        """The same rows on another device."""
        return StoredRows(self.stored.to(device), unit_norm=self.unit_norm)


class DrawnRows:
    """Rows of unit norm that are functions of (seed, id).

    `draw` maps ids (N,) int64 to (N, D) float32, written to its `out` where one is given.

    `ids` (K,) are hashed class names; None stands for the class indices.
    """

    def __init__(
        self,
        draw: Callable[..., Tensor],
        num_classes: int,
        dim: int,
        *,
        geometry: str,
        seed: int,
        ids: Tensor | None = None,
        device: torch.device | str = "cpu",
    ):
        self.draw, self.num_classes, self.dim = draw, num_classes, dim
        self.geometry, self.seed, self.device = geometry, seed, torch.device(device)
        self.names = None if ids is None else ids.to(device)
        self._matrix: Tensor | None = None
        self._mean: Tensor | None = None

    @property
    def holdable(self) -> bool:
        """Whether `matrix` keeps what it draws."""
        return 4 * self.num_classes * self.dim <= HELD_BYTES

    def largest_norm(self) -> float:
        """The norm that no row exceeds, but for rounding."""
        return 1.0

    def unit(self, dtype: torch.dtype) -> float:
        """What tiles have to be multiplied by.

        In bfloat16 1/sqrt(D) would be off by up to 0.2 percent in every entry alike; +-1 is exact.
        """
        exact = dtype == torch.bfloat16 and self.geometry in SIGNS
        return torch.tensor(1 / math.sqrt(self.dim)).item() if exact else 1.0

    def ids(self, start: int, stop: int) -> Tensor:
        """What rows start..stop-1 are drawn for."""
        return torch.arange(start, stop, device=self.device) if self.names is None else self.names[start:stop]

    def tile(self, start: int, stop: int, dtype: torch.dtype, space: Tensor | None = None) -> Tensor:
        """Rows start..stop-1."""
        if self._matrix is not None:
            rows = self._matrix[start:stop]
        else:
            rows = self.draw(self.ids(start, stop), out=None if space is None else space[: stop - start])
        return (rows if self.unit(dtype) == 1 else rows.sign()).to(dtype)

    def take(self, classes: Tensor) -> Tensor:
        """The rows of some classes."""
        if self._matrix is not None:
            return self._matrix.index_select(0, classes)
        return self.draw(classes if self.names is None else self.names[classes])

    def matrix(self) -> Tensor:
        """All rows.  They are kept for the next time where they take less than HELD_BYTES."""
        if self._matrix is not None:
            return self._matrix
        rows = self.draw(self.ids(0, self.num_classes))
        if self.holdable:
            self._matrix = rows
        return rows

    def mean(self) -> Tensor:
        """The mean row.  Drawing all rows for it happens once."""
        if self._mean is None:
            total, size = torch.zeros(self.dim, dtype=torch.float64, device=self.device), max(MEAN_TILE // self.dim, 1)
            for start in range(0, self.num_classes, size):
                rows = self.tile(start, min(start + size, self.num_classes), torch.float32)
                total += rows.sum(dim=0, dtype=torch.float64)
            self._mean = (total / self.num_classes).to(torch.float32)
        return self._mean

    def to(self, device: torch.device) -> "DrawnRows":
        """The same rows on another device."""
        if device == self.device:
            return self
        place = {"geometry": self.geometry, "seed": self.seed, "ids": self.names, "device": device}
        moved = DrawnRows(self.draw, self.num_classes, self.dim, **place)
        moved._matrix = None if self._matrix is None else self._matrix.to(device)
        return moved


Rows = StoredRows | DrawnRows
