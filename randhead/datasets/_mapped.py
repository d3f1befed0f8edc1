"""Decoded images in a memory-mapped file that are too many for the memory budget."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from randhead.datasets._images import FileImages


class MappedImages(FileImages):
    """Images that are copied from a memory map when they are needed, by threads, a few batches ahead of their use.

    Args:
        pixels: (M, 3, H, H) uint8, memory-mapped.
        rows: the indices of the images (N,) int64.
        paths: the files that they were decoded from.
        options: the other arguments of `FileImages`.
    """

    def __init__(self, pixels: np.ndarray, rows: np.ndarray, paths: Sequence[Path], **options: Any):
        super().__init__(paths, pixels.shape[-1], **options)
        self._pixels, self._rows = pixels, rows

    def image(self, index: int) -> np.ndarray:
        """The image of an index (3, H, H) uint8."""
        found: np.ndarray = self._pixels[self._rows[index]]
        return found
