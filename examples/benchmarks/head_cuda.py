"""The CUDA section of `head.py`: every arm in bfloat16, by CUDA events."""

import functools
import statistics
import time
from functools import partial

import torch
import torch.nn.functional as F
from head_arms import GEOMETRIES, expected_arm, frozen, linear, ours, trained

SIZES = [(b, k, dim) for dim in (512, 2048) for b in (1024, 4096) for k in (10_000, 100_000, 1_000_000, 10_000_000)]
SECONDS = 480  # then no further arm is begun, so that the whole run takes less than ten minutes


def cuda(quick):
    """Milliseconds, TFLOP/s of 4BKD and peak MB of every arm and size.  Sizes that would not fit are left out.

    Our arms and plain dense come first, then what has to be compiled for every size.
    """
    begun, found = time.monotonic(), []
    most = {"streaming rademacher": partial(ours, "rademacher", 10**8, torch.bfloat16, b=1024, device="cuda")}
    wanted = [((1024, 10**8, 512), most)] + [(size, _arms(*size)) for size in (*SIZES, (1024, 1_000_000, 128))]
    wanted += [(size, _peer_arms(*size)) for size in SIZES]
    for (b, k, dim), arms in wanted:
        for name, make in arms.items():
            if time.monotonic() - begun < (60 if quick else SECONDS):
                found.append({"B": b, "D": dim, "K": k, "arm": name} | _on_device(make, b, k, dim))
    return {"rows": found, "note": torch.cuda.get_device_name()}


def _arms(b, k, dim):
    size = {"b": b, "dim": dim, "device": "cuda"}
    arms = {f"streaming {geometry}": partial(ours, geometry, k, torch.bfloat16, **size) for geometry in GEOMETRIES}
    arms["expected"] = partial(expected_arm, k, **size)
    if _fits(2 * k * dim + 14 * b * k):
        arms["frozen dense"] = partial(frozen, k, torch.bfloat16, **size)
    if _fits(6 * k * dim + 14 * b * k):
        arms["trained dense, SGD"] = partial(trained, k, torch.bfloat16, **size)
    return arms


def _peer_arms(b, k, dim):
    size = {"b": b, "dim": dim, "device": "cuda"}
    arms = {}
    if _fits(2 * k * dim + 14 * b * k):
        compiled = torch.compile(lambda q, w, y: F.cross_entropy(q @ w.T, y))
        arms["frozen dense, compiled"] = partial(frozen, k, torch.bfloat16, compiled, **size)
    if _fits(6 * k * dim):
        arms |= {f"{name}, {kind.__name__}": partial(kind, k, torch.bfloat16, call, **size)
                 for name, call in _peers().items() for kind in (frozen, trained)}  # fmt: skip
    return arms


def _fits(size):
    """Whether that many bytes leave a fifth of the device's memory free."""
    return size < 0.8 * torch.cuda.get_device_properties(0).total_memory


@functools.cache
def _peers():
    """Fused losses of other packages: name -> call(q, w, y)."""
    peers = {"F.linear_cross_entropy": linear} if hasattr(F, "linear_cross_entropy") else {}
    try:
        from cut_cross_entropy import linear_cross_entropy as cut

        peers["cut-cross-entropy"] = cut
    except ImportError:
        print("cut-cross-entropy is not installed")
    try:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

        liger = LigerFusedLinearCrossEntropyLoss()
        peers["liger"] = lambda q, w, y: liger(w, q, y)
    except ImportError:
        print("liger-kernel is not installed")
    return peers


def _on_device(make, b, k, dim):
    """Median of up to 10 runs in at most 4 seconds."""
    try:
        step = make()
        step(), torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        times, begun = [], time.monotonic()
        while len(times) < 10 and (len(times) < 2 or time.monotonic() - begun < 4):
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record(), step(), stop.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(stop))
    except Exception as error:  # a peer's limit is a finding, not the end of the run
        return {"ms": None, "error": f"{type(error).__name__}: {str(error)[:200]}"}
    finally:
        torch.cuda.empty_cache()
    ms = statistics.median(times)
    return {"ms": ms, "TFLOP/s of 4BKD": 4e-9 * b * k * dim / ms, "peak MB": torch.cuda.max_memory_allocated() / 1e6}
