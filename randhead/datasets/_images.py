"""Images that give batches in any order: resident in one tensor, or decoded from files while training goes on.

Both give the same batches in the same order, so which one is used is a question of memory alone.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from randhead.datasets import _parallel
from randhead.datasets._decode import decode, ignore_pillow_warnings

LOOK_AHEAD = 2  # batches decoded ahead of the one in use
STATISTICS_BATCH = 1024


class Images(Protocol):
    """N square RGB images of 8 bits; `shape` is that of one: (3, H, W)."""

    shape: tuple[int, int, int]

    def __len__(self) -> int: ...

    def batches(self, order: Tensor, batch_size: int) -> Iterator[Tensor]:
        """Batches in exactly the order of `order` (M,) int64: uint8 (b, 3, H, W), on the training device.

        The last one may be short.
        """
        ...


class TensorImages:
    """Images held in one tensor.

    pixels (M, 3, H, W) uint8; rows (N,) int64, on the same device: which of them, so that splits share one tensor.
    """

    def __init__(self, pixels: Tensor, rows: Tensor):
        self.pixels, self.rows = pixels, rows
        self.shape = tuple(pixels.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[Tensor]:
        """As in `Images`."""
        rows = self.rows[order.to(self.rows.device)]
        for start in range(0, len(rows), batch_size):
            # index_select copies whole images; plain indexing took nine times as long.
            yield self.pixels.index_select(0, rows[start : start + batch_size])


class FileImages:
    """Images decoded from their files by `workers` threads, a few batches ahead, then moved to `device`."""

    def __init__(self, paths: Sequence[Path], size: int, *, workers: int, device: str | torch.device):
        self.paths, self.workers, self.device = paths, workers, device
        self.shape = (3, size, size)

    def __len__(self) -> int:
        return len(self.paths)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[Tensor]:
        """As in `Images`.  Raises DataError for a file that was readable when the set was loaded and is no more."""
        ignore_pillow_warnings()
        ids = order.tolist()
        # Small batches hold few tasks, so more of them are needed to keep every thread busy.
        ahead = max(LOOK_AHEAD, -(-2 * self.workers * _parallel.CHUNK // batch_size))
        waiting: deque[tuple[np.ndarray, list[Future]]] = deque()
        with _parallel.pool(self.workers) as executor:
            for start in range(0, len(ids), batch_size):
                waiting.append(self._begin(executor, ids[start : start + batch_size]))
                if len(waiting) > ahead:
                    yield self._finish(*waiting.popleft())
            while waiting:
                yield self._finish(*waiting.popleft())

    def _begin(self, executor: ThreadPoolExecutor, ids: list[int]) -> tuple[np.ndarray, list[Future]]:
        batch = np.empty((len(ids), *self.shape), dtype=np.uint8)
        starts = range(0, len(ids), _parallel.CHUNK)
        return batch, [executor.submit(self._fill, batch, ids, start) for start in starts]

    def _fill(self, batch: np.ndarray, ids: list[int], start: int) -> None:
        for place in range(start, min(start + _parallel.CHUNK, len(ids))):
            batch[place] = decode(self.paths[ids[place]], self.shape[1])

    def _finish(self, batch: np.ndarray, parts: list[Future]) -> Tensor:
        for part in parts:
            part.result()
        return torch.from_numpy(batch).to(self.device)


def channel_statistics(images: Images) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, of pixels scaled to [0, 1]: two tensors (3,) float32 on the CPU.

    One pass, with integer sums: the same figures for any batch size and device.  The deviation is at least 1/255, so
    that a constant channel can be divided by it.
    """
    total, squares = 0, 0
    for batch in images.batches(torch.arange(len(images)), STATISTICS_BATCH):
        values = batch.to(torch.int32)
        total = total + values.sum(dim=(0, 2, 3), dtype=torch.int64)
        squares = squares + values.square().sum(dim=(0, 2, 3), dtype=torch.int64)
    count = len(images) * images.shape[1] * images.shape[2]
    # Python integers: count * squares passes 2^63 for some thousand million pixels.
    variances = [count * q - s * s for s, q in zip(total.tolist(), squares.tolist(), strict=True)]
    mean = torch.tensor([s / count / 255 for s in total.tolist()])
    std = torch.tensor([max(variance**0.5 / count / 255, 1 / 255) for variance in variances])
    return mean, std
