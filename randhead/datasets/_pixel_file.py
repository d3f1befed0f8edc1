"""Decoded images in a file: written one by one while they are decoded, memory-mapped afterwards."""

import math
import threading
from pathlib import Path

import numpy as np

from randhead.files import sync_file

PIECE = 1 << 26  # bytes of an array that are written at once


class PixelFile:
    """A new file for N images, which several threads fill like an array.

    The images are written to the file, not to a memory map of it: on a full disk that raises OSError, and writing to a
    map would end the process.

    Args:
        path: the file.
        shape: (N, 3, size, size).
    """

    def __init__(self, path: Path, shape: tuple[int, ...]):
        self.shape = shape
        self._each, self._lock = math.prod(shape[1:]), threading.Lock()
        self._file = path.open("xb+", buffering=0)

    def __enter__(self) -> "PixelFile":
        self._file.truncate(math.prod(self.shape))  # images that cannot be used stay zeros
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        with self._file:
            if kind is None:
                sync_file(self._file.fileno())

    def __setitem__(self, row: int, image: np.ndarray) -> None:
        self._write(row * self._each, image)

    def fill(self, pixels: np.ndarray) -> None:
        """Write all images (N, 3, size, size) uint8."""
        step = max(1, PIECE // self._each)
        for row in range(0, len(pixels), step):
            self._write(row * self._each, pixels[row : row + step])

    def _write(self, at: int, pixels: np.ndarray) -> None:
        left = memoryview(np.ascontiguousarray(pixels).reshape(-1).data)
        with self._lock:
            self._file.seek(at)
            while left:
                left = left[self._file.write(left) :]


def mapped(path: Path, shape: tuple[int, ...], *, writable: bool) -> np.ndarray:
    """The images of a file (N, 3, size, size) uint8, memory-mapped.

    The map stays valid if the file is deleted while it is used; only on a network file system, a file that another
    machine deletes is gone.

    Args:
        path: the file.
        shape: (N, 3, size, size).
        writable: whether the array can be changed, as tensors must be; the file does not change.  The system may count
            such a map as memory.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it has another size.
    """
    if (found := path.stat().st_size) != (wanted := math.prod(shape)):
        raise ValueError(f"{path.name} has {found:,} bytes instead of {wanted:,}")
    # As a plain array: getting a row of a memmap takes four times as long.
    return np.asarray(np.memmap(path, dtype=np.uint8, mode="c" if writable else "r", shape=shape))
