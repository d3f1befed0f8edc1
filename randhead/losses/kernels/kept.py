"""Sweeps that are kept from step to step, with their graphs and the memory that they share."""

import collections
import threading
from typing import Any

import torch
from torch import Tensor

from randhead.losses._rows import ClassRows, DrawnRows
from randhead.losses.kernels.memory import Memory
from randhead.losses.kernels.sweep import Sweep, Swept

KEPT_SWEEPS = 8  # of a stream
KEPT_STREAMS = 2


class Kept:
    """The memory of a thread's stream, and the sweeps whose graphs use it."""

    def __init__(self) -> None:
        self.memory: Memory | None = None
        self.sweeps: collections.OrderedDict[Any, Sweep] = collections.OrderedDict()

    def memory_for(self, size: int, device: torch.device) -> Memory:
        """The memory, new and without other sweeps if the one there is too small or too large."""
        if self.memory is None or not self.memory.serves(size):
            self.memory = None  # the old one first
            self.sweeps.clear()
            self.memory = Memory(size, device)
        return self.memory


_kept: collections.OrderedDict[Any, Kept] = collections.OrderedDict()


@torch.compiler.disable
def sweep(queries: Tensor, labels: Tensor, rows: ClassRows, *, gradient: bool) -> Swept:
    """A sweep with memory that all sweeps of the thread and stream share, and graphs that are kept."""
    device, batch = queries.device, len(queries)
    if torch.cuda.is_current_stream_capturing():  # its memory belongs to the caller's graph
        return Sweep(rows, batch, device, gradient=gradient)(rows, queries, labels)
    place = device, torch.cuda.current_stream(device).cuda_stream, threading.get_ident()
    _kept[place] = kept = _kept.pop(place, None) or Kept()
    while len(_kept) > KEPT_STREAMS:
        _kept.popitem(last=False)
    drawn = isinstance(rows, DrawnRows) and (rows.geometry, rows.seed, None if rows.names is None else id(rows.names))
    key = drawn, rows.num_classes, rows.dim, rows.row_scale(torch.bfloat16), batch, gradient
    found = kept.sweeps.pop(key, None) or Sweep(rows, batch, device, gradient=gradient)
    if found.memory is None:
        found.use(kept.memory_for(found.size, device))
    kept.sweeps[key] = found
    while len(kept.sweeps) > KEPT_SWEEPS:
        kept.sweeps.popitem(last=False)
    return found(rows, queries, labels)


def forget() -> None:
    """Free the memory and graphs that are kept."""
    _kept.clear()
