"""Memory that sweeps share: only one of them runs at a time on a stream."""

import math

import torch
from torch import Tensor

ALIGNED = 256  # bytes
# A block up to this size, what 1,024 samples of 512 dimensions take, serves all sweeps that fit into it; a larger one
# only those that need most of it, so that a small batch after a large one does not hold the memory of the large one.
SHARED_BYTES = 84_000_000
SLACK = 1.1

Wanted = dict[str, tuple[tuple[int, ...], torch.dtype]]  # name -> shape and type


class Memory:
    """A block of memory.

    Args:
        size: in bytes.
        device: where.

    Attributes:
        holder: the mark of the sweep whose numbers are in it; the sweep itself would keep the memory alive.
    """

    @torch.inference_mode(False)  # memory that training can write to
    def __init__(self, size: int, device: torch.device):
        self.block = torch.empty(size, dtype=torch.uint8, device=device)
        self.holder: object | None = None

    @torch.inference_mode(False)
    def cut(self, wanted: Wanted) -> dict[str, Tensor]:
        """The tensors that are wanted, side by side from the start of the block."""
        found, start = {}, 0
        for name, (shape, dtype) in wanted.items():
            found[name] = self.block[start : start + _bytes(shape, dtype)].view(dtype).view(shape)
            start += _padded(_bytes(shape, dtype))
        return found

    def serves(self, size: int) -> bool:
        """Whether a sweep of that size should use it."""
        return size <= len(self.block) <= max(SLACK * size, SHARED_BYTES)


def size_of(wanted: Wanted) -> int:
    """Bytes that `Memory.cut` needs."""
    return sum(_padded(_bytes(*one)) for one in wanted.values())


def _bytes(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    return math.prod(shape) * dtype.itemsize


def _padded(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED
