"""Images that are read in batches in any order: resident in one tensor, or decoded from files during training.

Both give the same batches in the same order; they differ only in memory.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from randhead.datasets import _parallel
from randhead.datasets._decode import decode, ignore_pillow_warnings
from randhead.datasets._opening import AS_FOUND, Rules

LOOK_AHEAD = 2  # batches decoded ahead of the one in use
DIGEST = 16  # bytes


class Images(Protocol):
    """N square RGB images of 8 bits; `shape` is that of one image: (3, H, H)."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def batches(self, order: Tensor, batch_size: int) -> Iterator[Tensor]:
        """Yield the images `order` (M,) int64, in this order, as batches (b, 3, H, H) uint8 on the training device.

        The last batch may be short.
        """
        ...


class TensorImages:
    """Images in one tensor, which several splits can share.

    Args:
        pixels: (M, 3, H, H) uint8.
        rows: the indices of the images (N,) int64, on the same device.
        digests: (M, 16) uint8, the `digest` of each of `pixels`, if it is known.
        sums: (M, 2, 3) int64, the `channel_sums` of each of `pixels`, if they are known.
    """

    def __init__(self, pixels: Tensor, rows: Tensor, digests: np.ndarray | None = None, sums: np.ndarray | None = None):
        self.pixels, self.rows, self.digests, self.sums = pixels, rows, digests, sums
        self.shape: tuple[int, ...] = tuple(pixels.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[Tensor]:
        """As in `Images`."""
        rows = self.rows[order.to(self.rows.device)]
        for start in range(0, len(rows), batch_size):
            # index_select copies whole images; plain indexing took nine times as long.
            yield self.pixels.index_select(0, rows[start : start + batch_size])


class ResizedImages:
    """Images in one tensor on the CPU, resized whenever they are needed: all of them would be too large at that size.

    Args:
        pixels: (M, 3, H, H) uint8.
        rows: the indices of the images (N,) int64.
        size: side of the images in pixels, to which they are resized.
        device: to which the batches are moved.  The processor resizes, so that the bits are the same on every device.
    """

    def __init__(self, pixels: Tensor, rows: Tensor, size: int, *, device: str | torch.device):
        self.pixels, self.rows, self.device = pixels, rows, device
        self.shape: tuple[int, ...] = (3, size, size)

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[Tensor]:
        """As in `Images`."""
        for rows in self.rows[order.cpu()].split(batch_size):
            batch = resized(self.pixels.index_select(0, rows), self.shape[1])
            yield (batch.pin_memory() if _is_cuda(self.device) else batch).to(self.device, non_blocking=True)


def resized(pixels: Tensor, size: int) -> Tensor:
    """Images (N, 3, H, H) uint8 of another size: (N, 3, size, size)."""
    return functional.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)


class _Part(NamedTuple):
    """Images that one task decodes: those of `ids`, which are the rows from `row` on of a batch (B, 3, H, H) uint8."""

    batch: Tensor
    row: int
    ids: list[int]

    @property
    def is_last(self) -> bool:
        """Whether it is the last part of the batch."""
        return self.row + len(self.ids) == len(self.batch)


class FileImages:
    """Images that are decoded from their files when they are needed, a few batches ahead.

    Args:
        paths: the files.
        size: side of the images in pixels, to which they are resized.
        workers: number of threads that decode.
        device: to which the batches are moved.
        digests: (N, 16) uint8, the `digest` of each image, if it is known.
        sums: (N, 2, 3) int64, the `channel_sums` of each image, if they are known.
        rules: how files are read.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        size: int,
        *,
        workers: int,
        device: str | torch.device,
        digests: np.ndarray | None = None,
        sums: np.ndarray | None = None,
        rules: Rules = AS_FOUND,
    ):
        self.paths, self.workers, self.device, self.rules = paths, workers, device, rules
        self.digests, self.sums = digests, sums
        self.shape: tuple[int, ...] = (3, size, size)

    def __len__(self) -> int:
        return len(self.paths)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[Tensor]:
        """As in `Images`.  Raises DataError for a file that can no longer be read."""
        ignore_pillow_warnings()
        # Small batches have few tasks, so more of them are needed to keep every thread busy.
        ahead = max(LOOK_AHEAD, -(-2 * self.workers * _parallel.CHUNK // batch_size))
        most = ahead * -(-batch_size // _parallel.CHUNK)
        parts = self._parts(order.tolist(), batch_size)
        with closing(_parallel.ahead(self._fill, parts, workers=self.workers, most=most)) as filled:
            for part in filled:
                if part.is_last:
                    yield part.batch.to(self.device, non_blocking=True)

    def image(self, index: int) -> np.ndarray:
        """The image of an index (3, H, H) uint8.  Raises DataError if its file can no longer be read."""
        return decode(self.paths[index], self.shape[1], self.rules)

    def _parts(self, ids: list[int], batch_size: int) -> Iterator[_Part]:
        # The copy of pinned memory waits neither for the device nor for earlier steps.
        pinned = _is_cuda(self.device)
        for start in range(0, len(ids), batch_size):
            chosen = ids[start : start + batch_size]
            batch = torch.empty((len(chosen), *self.shape), dtype=torch.uint8, device="cpu", pin_memory=pinned)
            for row in range(0, len(chosen), _parallel.CHUNK):
                yield _Part(batch, row, chosen[row : row + _parallel.CHUNK])

    def _fill(self, part: _Part) -> _Part:
        pixels = part.batch.numpy()
        for row, index in enumerate(part.ids, part.row):
            pixels[row] = self.image(index)
        return part


def _is_cuda(device: str | torch.device) -> bool:
    return torch.device(device).type == "cuda"


def digest(pixels: np.ndarray) -> bytes:
    """A hash of the pixels of an image, 16 bytes.  For 32 x 32 pixels it takes 3 microseconds, for 224 x 224 180."""
    return hashlib.sha256(pixels.data).digest()[:DIGEST]
