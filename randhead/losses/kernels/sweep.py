"""A sweep over all classes for batches of one size: memory, launches, and CUDA graphs of them.

With a static shift the results of chunks are added without rescaling, and no kernel's result depends on the order of
its programs, so results are identical to the bit every time.  From the second batch on, everything is CUDA graphs that
read the number of their first class from the device: a step takes two launches from the host, and one more for every
64 chunks.  Rows that fit one chunk stay where they are until another sweep uses the memory.

Only the main thread makes graphs; other threads, and callers who capture a graph of their own, get ordinary launches.
Graphs read and write the memory of the sweeps alone.  What a step is given is copied there, and its results are copied
out, so that no address of the caller's is kept.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from randhead.losses._rows import ClassRows, DrawnRows
from randhead.losses.kernels import draw, ends, products
from randhead.losses.kernels.memory import Memory, Wanted, size_of
from randhead.losses.kernels.plan import Plan, plan

HEADROOM = 60.0  # exp(60) times a billion classes is still a float32
SAFE = 72.0  # largest logits whose exponentials, less their shift of 12, are all normal numbers
LEAST = 1e-20  # a sum below this has lost terms to underflow
CAPTURED = 64  # chunks of a graph at most


class Swept(NamedTuple):
    """The numbers of a batch.

    Attributes:
        target: logits of the samples' classes (B,) float64.
        log_sum: log-sum-exp over the other classes (B,) float64.
        own: class vectors of the samples' classes (B, D).
        gradient: of `log_sum` with respect to the queries (B, D), or None.
        is_certain: whether the static shift did for all samples; if not, `log_sum` and `gradient` of the others are
            NaN.  True while the caller captures a graph, where nothing can be read.
    """

    target: Tensor
    log_sum: Tensor
    own: Tensor
    gradient: Tensor | None
    is_certain: bool


class Sweep:
    """Memory, launches and graphs of sweeps over some rows for batches of one size.

    Args:
        rows: K class vectors.
        batch: B.
        device: where.
        gradient: whether to sum the gradient with respect to the queries.
        dtype: of both products.
        chosen: tiles, parts and chunk; by default those of `plan`.
        kept: all rows over their row scale (K, D) of `dtype`, which are then not drawn.

    Attributes:
        size: bytes of memory that it needs.
        mark: what the memory knows it by.
    """

    def __init__(
        self,
        rows: ClassRows,
        batch: int,
        device: torch.device,
        *,
        gradient: bool = True,
        dtype: torch.dtype = torch.bfloat16,
        chosen: Plan | None = None,
        kept: Tensor | None = None,
    ):
        self.dim, self.num_classes, self.gradient, self.kept = rows.dim, rows.num_classes, gradient, kept
        self.memory: Memory | None
        self.mark = object()
        self.source = source_of(rows, device)
        self.row_scale = rows.row_scale(torch.bfloat16)
        self.processors = draw.multiprocessors(device)
        self.plan = chosen or plan(batch, rows.dim, self.processors)
        self.has_copy_engine = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0)
        self.chunk = min(self.plan.chunk, -(-rows.num_classes // 256) * 256)
        self.chunks = -(-rows.num_classes // self.chunk)
        is_drawn = self.source is not None and kept is None
        self.is_ahead = self.plan.ahead and is_drawn and self.chunks > 1
        self.stays = is_drawn and self.chunks == 1  # whether rows stay in memory
        self.graphs: list[torch.cuda.CUDAGraph] = []
        self.used, self.can_capture = False, device.type == "cuda" and self.source is not None
        self.runs = -(-self.chunks // CAPTURED)  # replays of the graph of chunks
        self.width = -(-rows.dim // 8) * 8  # the copy engine needs lines of a multiple of 16 bytes
        self.wanted = self._wanted(batch, dtype)
        self.size, self.memory = size_of(self.wanted), None
        pinned = device.type == "cuda" and not torch.cuda.is_current_stream_capturing()
        with torch.inference_mode(False):
            self.seen = torch.empty(batch, dtype=torch.float32, device="cpu", pin_memory=pinned)

    def _wanted(self, batch: int, dtype: torch.dtype) -> Wanted:
        dim, chunk, width, parts = self.dim, self.chunk, self.width, self.plan.parts if self.gradient else 0
        tiles = -(-min(chunk, self.num_classes) // self.plan.weigh.columns)
        drawn = 0 if self.kept is not None else chunk
        return {
            "spaces": ((1 + self.is_ahead, drawn, width), dtype),
            "weights": ((batch, chunk), dtype),
            "scaled": ((batch, width), dtype),
            "queries": ((batch, dim), torch.float32),
            "matrices": ((1 + self.gradient, batch, dim), torch.float32),
            "sums": ((parts, batch, width), torch.float32),
            "totals": ((tiles, batch), torch.float32),
            "levels": ((3, batch), torch.float32),
            "labels": ((batch,), torch.int64),
            "clock": ((1,), torch.int64),
            "numbers": ((2, batch), torch.float64),
            "bad": ((batch,), torch.int32),
        }

    @torch.inference_mode(False)
    def use(self, memory: Memory) -> None:
        """Take the tensors from a block of memory of at least `size` bytes."""
        self.memory, found = memory, memory.cut(self.wanted)
        spaces = found["spaces"] if self.kept is None else self.kept[None]
        self.space, self.other = spaces[0], spaces[-1]
        self.weights, self.scaled, self.queries = found["weights"], found["scaled"], found["queries"]
        self.matrices, self.sums, self.totals = found["matrices"], found["sums"], found["totals"]
        self.level, self.shift, self.bounds = found["levels"]
        self.labels, self.clock = found["labels"], found["clock"]
        self.numbers, self.bad = found["numbers"], found["bad"]

    @torch.no_grad()
    def __call__(self, rows: ClassRows, queries: Tensor, labels: Tensor) -> Swept:
        """One sweep: queries (B, D), labels (B,) int64."""
        capturing = queries.is_cuda and torch.cuda.is_current_stream_capturing()  # by the caller
        with torch.cuda.device_of(queries):
            if self.memory is None:
                self.use(Memory(self.size, queries.device))
            assert self.memory is not None  # noqa: S101
            held, self.memory.holder = self.memory.holder is self.mark, None
            if self.width != self.dim and self.kept is None and not held:
                self.space.zero_(), self.other.zero_()
            self.queries.copy_(queries)
            self.labels.copy_(labels)
            if self.used and not self.graphs and not capturing and self.may_capture():
                self.capture()
            self.used = True
            replayed = bool(self.graphs) and not capturing
            self.graphs[0].replay() if replayed else self.begin(rows)
            if not capturing:
                self.seen.copy_(self.bounds, non_blocking=True)
            begun = torch.cuda.current_stream().record_event() if queries.is_cuda and not capturing else None
            if self.stays and not held:
                self.draw(rows, self.space, 0)
            if replayed:
                for _ in range(self.runs):
                    self.graphs[1].replay()
                self.graphs[2].replay() if self.runs > 1 else None
            else:
                self.run(rows, range(self.chunks))
                self.end()
            target, log_sum = self.numbers.clone().unbind()
            both = self.matrices.clone()
            self.memory.holder = self.mark
        gradient = both[1] if self.gradient else None
        return Swept(target, log_sum, both[0], gradient, capturing or self._is_certain(begun))

    def _is_certain(self, begun: torch.cuda.Event | None) -> bool:
        """Whether the static shift did for all samples.

        The host waits for what comes before the sweep, and for the sweep itself only if logits may be so large that
        exponentials underflow.
        """
        if begun is not None:
            begun.synchronize()
        return bool(self.seen.max() <= SAFE) or not self.bad.any()

    def may_capture(self) -> bool:
        """Whether the kernels draw the rows, and no other thread may be capturing: two at once would be an error."""
        return self.can_capture and threading.current_thread() is threading.main_thread()

    def capture(self) -> None:
        """Make the graphs; every kernel has run before, so all are compiled."""
        at_once = -(-self.chunks // self.runs)

        def chunks() -> None:
            self.run(None, range(at_once))
            if self.runs > 1:
                self.clock += at_once * self.chunk
            else:
                self.end()

        works = (partial(self.begin, None), chunks, self.end)
        self.graphs = [captured(work) for work in works[: 2 + (self.runs > 1)]]

    def run(self, rows: ClassRows | None, numbers: range) -> None:
        """The kernels of some chunks, those whose first class is the clock plus a multiple of the chunk."""
        if self.is_ahead:
            self.run_ahead(numbers)
            return
        for number in numbers:
            if self.kept is None and not self.stays:
                self.draw(rows, self.space, number * self.chunk)
            self.multiply(self.space, number * self.chunk)

    def run_ahead(self, numbers: range) -> None:
        """As `run`, rows drawn on a stream of lower priority while the products of the chunk before run."""
        main, side = torch.cuda.current_stream(), torch.cuda.Stream(priority=0)
        spaces = (self.space, self.other)
        self.draw(None, self.space, 0)
        for number in numbers:
            more = number + 1 < len(numbers)
            if more:
                side.wait_stream(main)  # the products before have read the space
                with torch.cuda.stream(side):
                    self.draw(None, spaces[(number + 1) % 2], (number + 1) * self.chunk)
            self.multiply(spaces[number % 2], number * self.chunk)
            if more:
                main.wait_stream(side)

    def draw(self, rows: ClassRows | None, space: Tensor, offset: int) -> None:
        """Write the rows of a chunk over their row scale."""
        if self.source is not None:
            early = self.has_copy_engine and not self.is_ahead
            draw.chunk_into(space, self.source, self.num_classes, self.clock, offset, early)
            return
        assert rows is not None  # only rows that the kernels draw are captured  # noqa: S101
        count = min(self.chunk, self.num_classes - offset)
        dtype = torch.bfloat16 if isinstance(rows, DrawnRows) else space.dtype
        space[:count, : self.dim] = rows.tile(offset, offset + count, dtype)
        space[count:] = 0

    def multiply(self, space: Tensor, offset: int) -> None:
        """Both products of a chunk."""
        kept, early = self.kept is not None, self.has_copy_engine
        products.weigh(
            self.plan.weigh, self.scaled, space, self.level, self.labels, self.weights, self.totals,
            self.clock, offset, self.num_classes, self.processors, kept=kept, early=early and not self.is_ahead,
        )  # fmt: skip
        if self.gradient:
            products.add(
                self.plan.add, self.sums, self.weights, space, self.clock, offset, self.num_classes,
                kept=kept, reduced=self.has_copy_engine, early=early,
            )  # fmt: skip

    def begin(self, rows: ClassRows | None) -> None:
        """What each sample needs before the sweep."""
        drawn, (batch, dim) = self.source, self.queries.shape
        if drawn is None:
            assert rows is not None  # only rows that the kernels draw are captured  # noqa: S101
            self.matrices[0].copy_(rows.gather(self.labels))
        kind = draw.STORED if drawn is None else drawn.kind
        names = None if drawn is None else drawn.names
        at_once, blocks = draw.shape(kind, dim, 2048)
        ends.prepare_kernel[(triton.cdiv(batch, at_once),)](
            self.queries, self.labels, self.labels if names is None else names,
            self.queries if drawn is None else drawn.table, self.matrices, self.numbers, self.scaled, self.level,
            self.shift, self.bounds, self.bad, self.clock, batch, dim, self.width, *(drawn.key if drawn else (0, 0)),
            drawn.entry if drawn else 1.0, self.row_scale, 1.0 if rows is None else rows.largest_norm(), HEADROOM,
            KIND=kind, NAMED=names is not None, ROWS=at_once, BLOCKS=blocks, num_warps=4,
        )  # fmt: skip

    def end(self) -> None:
        """The results."""
        batch, dim = self.queries.shape
        grid = (triton.cdiv(batch, 16), triton.cdiv(dim, 256) if self.gradient else 1)
        ends.finish_kernel[grid](
            self.totals, self.sums, self.shift, self.bad, self.numbers[1], self.matrices[-1], len(self.totals),
            len(self.sums), batch, dim, self.width, self.row_scale, LEAST, SAFE - HEADROOM,
            GRADIENT=self.gradient, ROWS=16, COLUMNS=256, AT_ONCE=32, num_warps=4,
        )  # fmt: skip


def captured(work: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """A graph of the launches of some work."""
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(priority=-1)
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        work()
    return graph


def source_of(rows: ClassRows, device: torch.device) -> draw.Source | None:
    """What the kernels need to draw such rows, or None if they cannot."""
    if not isinstance(rows, DrawnRows) or rows.geometry.cuda_draw is None:
        return None
    return draw.source(rows.geometry, rows.dim, rows.seed, rows.names, device)
