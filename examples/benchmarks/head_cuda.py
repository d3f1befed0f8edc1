"""The CUDA section of `head.py`: loss and gradient in bfloat16, every arm in a process of its own.

    python examples/benchmarks/head_cuda.py [--seconds 480] [--out rows.jsonl] [--only ARM ...] [--tiny]

Rows are printed, and appended to the file, as they come: an arm that dies or takes too long costs its own rows only.
Arms are in the order of their importance, the rows of an arm too.  Milliseconds are medians of CUDA events; "host ms"
is the wall time of a step among several that nobody waits for.

Besides the exact loss there are two that need no other class: with cosine scoring and a fixed scale s the expected
softmax is nearly softplus(c - s cos) with a constant c, and dot regression is (1 - cos)^2 / 2 (arXiv 1901.10514,
2203.09081).
"""

import argparse
import functools
import json
import math
import statistics
import subprocess
import sys
import threading
import time
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
import torch.nn.functional as F
from head_arms import GEOMETRIES, batch, drawn, expected_arm, frozen, linear, ours, trained

from randhead import ClassVectorHead

SIZES = [(1024, 10**6, 512), (4096, 10**6, 512), (4096, 10**6, 2048), (4096, 10**5, 512), (1024, 10**4, 512),
         (1024, 10**5, 512), (1024, 10**6, 128), (256, 10**6, 512), (1024, 10**7, 512)]  # fmt: skip
FEW = SIZES[:5]
MEDIUM = [(1024, 1000, 512), (1024, 10**4, 512), (1024, 16_000, 512), (256, 10**4, 512), (256, 60_000, 512)]
SECONDS = 480  # of the whole run
ROW_SECONDS = 1.5  # of the measurement of one row
BF16 = torch.bfloat16


def arms():
    """Name -> (make(b, k, dim) -> step, sizes, bytes per entry of a matrix that it holds), most important first."""
    found = {"streaming rademacher": (_ours("rademacher"), [*SIZES, (1024, 10**8, 512)], 0)}
    found["frozen dense"] = _frozen(None), SIZES, 2
    found["streaming rademacher, kept rows"] = _kept, FEW, 2
    found |= {f"expected {geometry}": (_expected(geometry), [FEW[0], FEW[1]], 0) for geometry in GEOMETRIES}
    found |= {name: (partial(_own_class, call), [FEW[0], FEW[1]], 0) for name, call in ONE_LINE.items()}
    found |= {f"streaming {geometry}": (_ours(geometry), FEW, 0) for geometry in GEOMETRIES[1:]}
    found |= {f"head, {name}": (partial(_head, name), MEDIUM, 4) for name in ("dense", "streaming")}
    found["head, expected"] = partial(_head, "expected"), MEDIUM[:3], 0
    found["frozen dense, compiled"] = _frozen(torch.compile(_dense)), FEW, 2
    found["trained dense, SGD"] = _trained(None), FEW, 6
    for name, peer in PEERS.items():
        found |= {f"{name}, frozen": (_frozen(peer), FEW, 4), f"{name}, trained": (_trained(peer), FEW, 8)}
    return found


def _ours(geometry):
    return lambda b, k, dim: ours(geometry, k, BF16, b=b, dim=dim, device="cuda")


def _expected(geometry):
    return lambda b, k, dim: expected_arm(k, geometry, b=b, dim=dim, device="cuda")


def _frozen(call):
    return lambda b, k, dim: frozen(k, BF16, call, b=b, dim=dim, device="cuda")


def _trained(call):
    return lambda b, k, dim: trained(k, BF16, call, b=b, dim=dim, device="cuda")


def _dense(q, w, y):
    return F.cross_entropy(q @ w.T, y)


def _kept(b, k, dim):
    """The sweep with all rows in memory in bfloat16: what drawing costs."""
    from randhead.losses.kernels import draw, scores
    from randhead.losses.kernels.sweep import Sweep, source_of

    rows, device = drawn("rademacher", k, dim, "cuda"), torch.device("cuda", torch.cuda.current_device())
    kept = torch.empty(k, dim, dtype=BF16, device="cuda")
    draw.chunk_into(kept, source_of(rows, device), k, torch.zeros(1, dtype=torch.int64, device="cuda"), 0)
    sweep = Sweep(rows, b, device, kept=kept)
    scores.sweep = lambda queries, labels, rows, *, gradient: sweep(rows, queries, labels)
    return ours("rademacher", k, BF16, b=b, dim=dim, device="cuda")


def _head(normaliser, b, k, dim):
    """The whole head with features in bfloat16: checks, norms, and what comes back to the features."""
    head = ClassVectorHead(k, dim, "rademacher", scoring="cosine", scale=10.0, normaliser=normaliser,
                           normaliser_tolerance=math.inf).cuda()  # fmt: skip
    x, y = batch(k, b=b, dim=dim, device="cuda")
    x = x.to(BF16)
    return lambda: head.loss(x.clone().requires_grad_(), y).backward()


def _own_class(call, b, k, dim):
    rows, (x, y) = drawn("rademacher", k, dim, "cuda"), batch(k, b=b, dim=dim, norm=1.0, device="cuda")

    def step():
        q = x.clone().requires_grad_()
        call((q * rows.gather(y)).sum(dim=1), k, dim).mean().backward()

    return step


def _alignment(cosines, k, dim, scale=10.0):
    return F.softplus(math.log(k - 1) + scale**2 / (2 * dim) - scale * cosines)


ONE_LINE = {"softplus(c - s cos)": _alignment, "dot regression": lambda cosines, k, dim: 0.5 * (1 - cosines).square()}


def _cut(q, w, y):
    return import_module("cut_cross_entropy").linear_cross_entropy(q, w, y)


def _liger(q, w, y):
    return import_module("liger_kernel.transformers").LigerFusedLinearCrossEntropyLoss()(w, q, y)


def _quack(q, w, y):
    return import_module("quack.linear_cross_entropy").chunked_linear_cross_entropy(q, w, y, chunk_size=4096)


PEERS = {"F.linear_cross_entropy": linear, "cut-cross-entropy": _cut, "liger": _liger, "quack": _quack}
NEEDED = {"cut-cross-entropy": "cut_cross_entropy", "liger": "liger_kernel", "quack": "quack"}


@functools.cache
def is_missing(name):
    """Whether the package of a peer is not installed."""
    peer = name.rsplit(",", 1)[0]
    if peer == "F.linear_cross_entropy":
        return not hasattr(F, "linear_cross_entropy")
    if peer not in NEEDED:
        return False
    try:
        import_module(NEEDED[peer])
    except ImportError:
        return True
    return False


def measure(name, until):
    """Rows of one arm to standard output, as JSON, until a time of `time.time`."""
    if is_missing(name):
        print(json.dumps({"arm": name, "error": "not installed"}), flush=True)
        return
    make, sizes, per_entry = arms()[name]
    total = torch.cuda.get_device_properties(0).total_memory
    logits = 14 if "dense" in name else 0
    for b, k, dim in sizes:
        fits = per_entry * k * dim + logits * b * k < 0.8 * total
        if fits and time.time() < until:
            print(json.dumps({"arm": name, "B": b, "D": dim, "K": k} | row(make, b, k, dim)), flush=True)


def row(make, b, k, dim):
    """The figures of one arm and size, or its error."""
    step = None
    try:
        torch.cuda.reset_peak_memory_stats()
        step = make(b, k, dim)
        start = time.perf_counter()
        step(), torch.cuda.synchronize()
        first = time.perf_counter() - start
        torch.cuda.reset_peak_memory_stats()
        step(), step(), torch.cuda.synchronize()
        times, begun = [], time.monotonic()
        while len(times) < 20 and (len(times) < 3 or time.monotonic() - begun < ROW_SECONDS):
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record(), step(), stop.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(stop))
        ms, count = statistics.median(times), 3 if times[-1] > 100 else 10
        begun = time.perf_counter()
        for _ in range(count):
            step()
        host = 1e3 * (time.perf_counter() - begun) / count
        torch.cuda.synchronize()
    except Exception as error:  # a limit of an arm is a finding
        return {"ms": None, "error": f"{type(error).__name__}: {str(error)[:200]}"}
    finally:
        del step
        torch.cuda.empty_cache()
    peak = torch.cuda.max_memory_allocated() / 1e6
    return {"ms": ms, "best ms": min(times), "host ms": host, "TFLOP/s of 4BKD": 4e-9 * b * k * dim / ms,
            "peak MB": peak, "first s": first}  # fmt: skip


def run(seconds, out=None, only=None):
    """All rows, each printed and appended to the file `out` as it comes."""
    until, found = time.time() + seconds, []
    names = [name for name in arms() if not only or name in only]
    workers = {}
    for number, name in enumerate(names):
        for other in names[number : number + 2]:  # the next one is imported while this one runs
            if other not in workers:
                workers[other] = _worker(other, until)
        process = workers[name]
        left = until - time.time()
        if left < 2:
            break
        for given in _rows_of(process, left):
            found.append(given)
            print("  ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
                            for key, value in given.items()), flush=True)  # fmt: skip
            if out:
                with Path(out).open("a") as file:
                    file.write(json.dumps(given) + "\n")
    for process in workers.values():
        process.kill()
        process.wait()
    return found


def _worker(name, until):
    command = [sys.executable, __file__, "--arm", name, "--until", str(until)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _rows_of(process, seconds):
    """The rows of a worker that waits for its start, and an error if it dies."""
    timer = threading.Timer(seconds + 5, process.kill)
    timer.start()
    try:
        process.stdin.write("\n")
        process.stdin.flush()
        for line in process.stdout:
            if line.startswith("{"):
                yield json.loads(line)
    except BrokenPipeError:
        pass
    finally:
        timer.cancel()
    if process.wait() != 0:
        yield {"arm": process.args[3], "error": f"ended with {process.returncode}"}


def cuda(quick):
    """Rows of every arm and size, for `head.py`."""
    return {"rows": run(60 if quick else SECONDS), "note": torch.cuda.get_device_name()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the whole run")
    parser.add_argument("--out", help="JSON lines, appended")
    parser.add_argument("--only", nargs="+", help="names of arms")
    parser.add_argument("--tiny", action="store_true", help="two arms, to try the script; without a GPU they die")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.arm:
        import randhead.losses.streaming  # noqa: F401

        sys.stdin.readline()
        measure(arguments.arm, arguments.until)
        return
    run(arguments.seconds, arguments.out, list(arms())[:2] if arguments.tiny else arguments.only)


if __name__ == "__main__":
    main()
