"""The streaming softmax on a CUDA device, in Triton: two or three kernels per chunk of classes, in bfloat16.

Rows are drawn into a small workspace once for the whole batch (`draw.py`); one matrix product with exp in its epilogue
writes the weights p = exp(z - shift); a second one adds p @ rows to the gradient (`products.py`).  With few dimensions
one kernel computes both products (`fused.py`).  With a static shift the results of chunks are added without rescaling;
no kernel uses atomics, so results are identical to the bit every time.  The workspace takes 64 MiB for any number of
classes.
"""

import importlib.util
import math

import torch
from torch import Tensor

from randhead.losses._rows import ClassRows, DrawnRows

AVAILABLE = importlib.util.find_spec("triton") is not None
WORKSPACE_BYTES = 64 << 20  # rows and weights of a chunk: large enough to hide the time of launching its kernels
LARGEST_CHUNK = 1 << 16
ALIGNED = 1024  # classes
LOG2_E = 1 / math.log(2)


def sweep(
    queries: Tensor,
    labels: Tensor,
    rows: ClassRows,
    shift: Tensor,
    *,
    gradient: bool,
    dtype: torch.dtype = torch.bfloat16,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """The sums over the other classes k of exp(q.w_k - shift) (B,) and, if `gradient`, of that times w_k (B, D).

    Args:
        queries: embedded, scaled features (B, D) float32.
        labels: target classes (B,) int64.
        rows: K class vectors.
        shift: subtracted from the logits of each sample (B,) float32.
        gradient: whether to make the second sum.
        dtype: of both products.
        chunk: number of classes at once, a multiple of ALIGNED; by default what fits into the workspace.
    """
    from randhead.losses.kernels import draw, fused, products

    batch, dim = queries.shape
    chunk = chunk or _chunk(batch, dim)
    row_scale = rows.row_scale(torch.bfloat16)
    scaled, level = (queries * (row_scale * LOG2_E)).to(dtype), shift * LOG2_E
    space = queries.new_zeros(chunk, dim, dtype=dtype)  # it has to be finite also beyond the last class
    narrow = gradient and dim <= fused.LARGEST_DIM
    parts = _parts((fused if narrow else products).programs(batch, dim), queries.device)
    sums = queries.new_zeros(parts if gradient else 0, batch, dim)
    totals = queries.new_zeros(parts if narrow else -(-chunk // products.COLUMNS), batch)
    weights = queries.new_empty(batch, 0 if narrow else chunk, dtype=dtype)
    for start in range(0, rows.num_classes, chunk):
        count = min(chunk, rows.num_classes - start)
        if isinstance(rows, DrawnRows) and rows.geometry.cuda_draw:
            draw.into(space, rows, start, count)
        else:
            space[:count] = rows.tile(start, start + count, torch.bfloat16)
        if narrow:
            fused.add(sums, totals, scaled, space, level, labels, start, count)
        else:
            products.weigh(scaled, space, level, labels, weights, totals, start, count)
        if gradient and not narrow:
            products.add(sums, weights, space, count)
    return totals.sum(dim=0, dtype=torch.float64), sums.sum(dim=0).mul_(row_scale) if gradient else None


def _parts(programs: int, device: torch.device) -> int:
    """Number of parts of the sum over classes, so that every multiprocessor has one of the programs."""
    if device.type != "cuda":
        return 2
    return max(torch.cuda.get_device_properties(device).multi_processor_count // programs, 1)


def _chunk(batch: int, dim: int) -> int:
    """Number of classes at once."""
    fitting = WORKSPACE_BYTES // (2 * (batch + dim)) // ALIGNED * ALIGNED
    return max(ALIGNED, min(fitting, LARGEST_CHUNK))
