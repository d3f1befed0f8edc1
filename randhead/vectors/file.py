"""The user's own class vectors: "file:PATH", a matrix with one row per class.

The file is .safetensors (the tensor named "vectors", or the only one) or .npy.  Its numbers are used as they are, in
float32: rows are not normalised, since their norms may be intended.  Nothing is unpickled.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from randhead.errors import DataError, DataFileError
from randhead.vectors._matrix import size_problem

BY_ROW = False


def rows(ids: Tensor, dim: int, *, seed: int, num_classes: int, source: str) -> Tensor:
    """Some rows of the matrix at `source`: ids (N,) int64 -> (N, dim) float32.  Raises DataError."""
    return read(Path(source), dim, num_classes).to(ids.device)[ids]


def limit(dim: int) -> None:
    """None: `check_size` asks for one row per class."""


def check_size(dim: int, num_classes: int, *, source: str) -> None:
    """Raise DataError unless the file holds `num_classes` vectors of `dim` dimensions that can be used."""
    read(Path(source), dim, num_classes)


def read(path: Path, dim: int, num_classes: int) -> Tensor:
    """The matrix of a file: (num_classes, dim) float32, finite, no row zero.  Raises DataError."""
    readers = {".safetensors": _safetensors, ".npy": _npy}
    if path.suffix not in readers:
        raise DataError(
            f"{path}: not a .safetensors or .npy file", hint="save the matrix with safetensors or numpy.save"
        )
    if not path.is_file():
        raise DataFileError(f"{path}: no such file", hint="the path after file: is relative to the current folder")
    try:
        vectors = readers[path.suffix](path, (num_classes, dim))
    except OSError as error:
        reason = error.strerror or error
        raise DataFileError(f"{path}: cannot be read ({reason})", hint="check its permissions") from error
    _check_numbers(vectors, path)
    return vectors


def _safetensors(path: Path, shape: tuple[int, int]) -> Tensor:
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            name = names[0] if len(names) == 1 else "vectors"
            if name not in names:
                raise DataError(
                    f"{path}: none of its {len(names)} tensors is named 'vectors'",
                    hint="keep one tensor in the file, or name the matrix 'vectors'",
                )
            _check_shape(file.get_slice(name).get_shape(), shape, path)
            return _float32(file.get_tensor(name), path)
    except SafetensorError as error:
        raise DataError(
            f"{path}: not a safetensors file ({error})", hint="write it with safetensors.torch.save_file"
        ) from error


def _npy(path: Path, shape: tuple[int, int]) -> Tensor:
    try:
        # open_memmap reads only .npy, never a pickle, and refuses a header that claims more than the file holds.
        array = np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        raise DataError(f"{path}: not a .npy file of numbers ({error})", hint="write it with numpy.save") from error
    _check_shape(array.shape, shape, path)
    if array.dtype.kind not in "fiu":
        raise DataError(f"{path}: entries are {array.dtype}", hint="class vectors are real numbers")
    return _float32(torch.from_numpy(array.astype(np.float64)), path)


def _float32(vectors: Tensor, path: Path) -> Tensor:
    if vectors.is_complex() or vectors.dtype == torch.bool:
        raise DataError(f"{path}: entries are {vectors.dtype}", hint="class vectors are real numbers")
    return vectors.to(torch.float32)


def _check_shape(found: Sequence[int], wanted: tuple[int, int], path: Path) -> None:
    if problem := size_problem(found, wanted):
        raise DataError(f"{path}: {problem[0]}", hint=problem[1])


def _check_numbers(vectors: Tensor, path: Path) -> None:
    for wrong, what in ((~vectors.isfinite().all(dim=1), "NaN or infinite"), ((vectors == 0).all(dim=1), "zero")):
        if wrong.any():
            raise DataError(
                f"{path}: row {int(wrong.nonzero()[0])} is {what} in float32 ({int(wrong.sum())} such rows)",
                hint="every class needs a vector of finite numbers that are not all zero",
            )
