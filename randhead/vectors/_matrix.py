"""Class vectors that the user has: a tensor as a geometry."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from randhead.arguments import shown
from randhead.errors import UsageError
from randhead.vectors._geometry import Geometry


def from_matrix(matrix: Tensor, name: str = "given") -> Geometry:
    """A geometry of class vectors that exist already: vectors from elsewhere, and those that a checkpoint stores.

    Args:
        matrix: real, finite numbers (K, D), row k for class k.  They are copied, to float32 on the CPU.
        name: the name that a checkpoint records; not that of a geometry of randhead whose rows are drawn again.

    Returns:
        The geometry, of K classes in D dimensions.

    Raises:
        UsageError: for anything but a matrix of real, finite numbers, and for a name that cannot be used.

    Example:
        >>> from randhead import ClassVectorHead
        >>> ClassVectorHead(3, 3, vectors=from_matrix(torch.eye(3), name="axes"))
        ClassVectorHead(
          3 classes, D=3, fixed axes, dot, seed=0
          (neck): Identity()
        )
    """
    if problem := _problem(matrix):
        raise UsageError(
            f"class vectors {problem}", hint="they are a tensor of real, finite numbers (K, D), one row per class"
        )
    with torch.inference_mode(False):  # a tensor that is made in inference mode is of no use in training
        own = matrix.detach().to("cpu", torch.float32, copy=True)
    if len(wrong := (~own.isfinite().all(dim=1)).nonzero()):
        raise UsageError(
            f"row {int(wrong[0])} of the class vectors has numbers that are not finite in float32",
            hint="they are a tensor of real, finite numbers (K, D), one row per class",
        )
    return Geometry(
        name,
        rows=partial(_rows, own),
        limit=partial(_limit, own),
        by_row=False,
        check_size=partial(_check_size, own),
        matrix=own,
    )


def size_problem(found: Sequence[int], wanted: tuple[int, int]) -> tuple[str, str] | None:
    """A message and a hint for class vectors (K, D) of another shape than is wanted; None if it is the same."""
    if tuple(found) == wanted:
        return None
    hint = "give one row per class, in the order of the classes"
    if tuple(found) == wanted[::-1]:
        hint = "transpose it: each row is a class"
    return f"the shape {tuple(found)} must be {wanted}, (classes, dimensions)", hint


def _problem(matrix: object) -> str | None:
    """What is wrong with a matrix of class vectors, beyond its numbers; None if nothing is."""
    if not isinstance(matrix, Tensor):
        return f"must be a tensor (K, D), got {shown(matrix)}"
    if matrix.layout != torch.strided or matrix.is_quantized:
        return f"must be a dense tensor, got {'a quantised' if matrix.is_quantized else matrix.layout} one"
    if matrix.ndim != 2 or not matrix.numel():
        return f"must have shape (K, D), got {tuple(matrix.shape)}"
    if matrix.is_complex() or matrix.dtype == torch.bool:
        return f"must be real numbers, got {str(matrix.dtype).removeprefix('torch.')}"
    return "are on the meta device, which holds no numbers" if matrix.is_meta else None


def _rows(matrix: Tensor, ids: Tensor, dim: int, *, seed: int, num_classes: int) -> Tensor:
    return matrix.to(ids.device)[ids]


def _limit(matrix: Tensor, dim: int) -> int:
    return len(matrix)


def _check_size(matrix: Tensor, dim: int, num_classes: int) -> None:
    if problem := size_problem(matrix.shape, (num_classes, dim)):
        raise UsageError(f"class vectors: {problem[0]}", hint=problem[1])
