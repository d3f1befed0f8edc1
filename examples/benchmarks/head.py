"""What the loss of a head costs with many classes: exactly (streaming), in expectation, and beside what people use.

    python examples/benchmarks/head.py [--quick] [--only correctness cpu memory expected structured cuda]

* correctness: loss and gradient of the streaming normaliser against float64 logits that are all in memory, also on
  samples fitted so well that the usual cross-entropy loses its digits;
* cpu: loss and gradient with B = 256, D = 512, beside `F.cross_entropy(x @ W.T, y)` with W frozen and with W trained
  by SGD with momentum, and beside `F.linear_cross_entropy`.  Thread CPU time of one thread, arms in turns, median;
* memory: peak resident memory above the start, every arm in a process of its own;
* expected: time and memory of the expected normaliser at 1,000 to 1,000,000,000 classes;
* structured: how fast a fast Walsh-Hadamard transform makes the logits of Hadamard blocks;
* cuda (where there is a device; under ten minutes): bfloat16 beside frozen, trained and compiled dense, Cut
  Cross-Entropy, Liger and `F.linear_cross_entropy` where they are installed.  Median time of CUDA events.

Prints tables and writes results/head-<device>.json beside this file.
"""

import argparse
import datetime
import json
import platform
import re
import statistics
import subprocess
import sys
import time
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
import torch.nn.functional as F

from randhead import ClassVectorHead, vectors
from randhead.losses import DrawnRows, StoredRows, cross_entropy, dense, expected, streaming

B, D = 256, 512
GEOMETRIES = ("rademacher", "uniform", "gaussian")
NO_BF16 = (
    "this CPU has no bfloat16 instructions: torch's bf16 products are 100 times slower than its fp32 ones here, and "
    "streaming makes them in fp32; the bf16 figures say nothing about a CPU that has them"
)
PACKAGES = ("randhead", "torch", "triton", "cut-cross-entropy", "liger-kernel")


def drawn(geometry, k, dim=D, device="cpu"):
    draw = partial(vectors.draw, geometry, dim=dim)
    return DrawnRows(draw, k, dim, geometry=geometry, seed=0, device=device)


def batch(k, *, b=B, dim=D, norm=10.0, device="cpu"):
    generator = torch.Generator().manual_seed(0)
    queries = norm * F.normalize(torch.randn(b, dim, generator=generator), dim=1)
    return queries.to(device), torch.randint(0, k, (b,), generator=generator).to(device)


def matrix(k, dim=D, dtype=torch.float32, device="cpu"):
    """Class vectors in memory, for the arms that need them.  Random numbers of the same size, for speed."""
    out = torch.empty(k, dim, dtype=dtype, device=device)
    generator = torch.Generator(device).manual_seed(0)
    for part in out.split(1 << 16):
        part.copy_(torch.randn(part.shape, generator=generator, device=device) * dim**-0.5)
    return out


# Arms: each is made for (k, dtype) and gives a function that makes loss and gradient once.


def ours(geometry, k, dtype=torch.float32, **size):
    rows = drawn(geometry, k, size.get("dim", D), size.get("device", "cpu"))
    x, y = batch(k, **size)

    def step():
        q = x.clone().requires_grad_()
        scores = streaming.scores(q, y, rows, precision=dtype)
        cross_entropy(scores.own, scores.others).mean().backward()

    return step


def auto(k):
    """The head as it comes: dense, with the own class left out of the sum, while logits are small."""
    head = ClassVectorHead(k, D, "rademacher", scale=1.0)
    x, y = batch(k)
    return lambda: head.loss(x.clone().requires_grad_(), y).backward()


def expected_arm(k, geometry="rademacher", **size):
    rows = drawn(geometry, k, size.get("dim", D), size.get("device", "cpu"))
    x, y = batch(k, **size)

    def step():
        q = x.clone().requires_grad_()
        scores = expected.scores(q, y, rows)
        expected.error_bound(scores)
        cross_entropy(scores.own, scores.others).mean().backward()

    return step


def frozen(k, dtype=torch.float32, call=None, weights=None, **size):
    call = call or (lambda q, w, y: F.cross_entropy(q @ w.T, y))
    x, y = batch(k, **size)
    x = x.to(dtype)
    w = matrix(k, size.get("dim", D), dtype, size.get("device", "cpu")) if weights is None else weights
    return lambda: call(x.clone().requires_grad_(), w, y).backward()


def trained(k, dtype=torch.float32, call=None, **size):
    call = call or (lambda q, w, y: F.cross_entropy(q @ w.T, y))
    x, y = batch(k, **size)
    x = x.to(dtype)
    w = matrix(k, size.get("dim", D), dtype, size.get("device", "cpu")).requires_grad_()
    optimiser = torch.optim.SGD([w], lr=0.1, momentum=0.9)

    def step():
        optimiser.zero_grad(set_to_none=True)
        call(x.clone().requires_grad_(), w, y).backward()
        optimiser.step()

    return step


def linear(q, w, y, chunk=None):
    options = torch.nn.LinearCrossEntropyOptions(**({} if chunk is None else {"batch_chunk_size": chunk}))
    return F.linear_cross_entropy(q, w, y, options=options)


def in_turns(arms, repeats):
    """Median milliseconds of thread CPU time of every arm, run in turns after one round to warm up."""
    seconds = {name: [] for name in arms}
    for _ in range(repeats + 1):
        for name, step in arms.items():
            start = time.thread_time()
            step()
            seconds[name].append(time.thread_time() - start)
    return {name: 1e3 * statistics.median(runs[1:]) for name, runs in seconds.items()}


# Sections


def correctness(quick):
    """Relative errors against float64 on ordinary and on well-fitted samples."""
    found = []
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    for geometry in GEOMETRIES:
        rows = drawn(geometry, 2000 if quick else 20_000)
        noise, labels = batch(rows.num_classes, b=32, norm=1.0)
        own = rows.take(labels)
        samples = {"ordinary": 15 * noise, "fitted": 8 * own + noise, "well fitted": 24 * own + noise}
        in_bf16 = partial(streaming.scores, precision=torch.bfloat16)
        for name, queries in samples.items():
            exact = _loss_and_gradient(_plain, queries.double(), labels, rows)
            arms = {
                "streaming fp32": _loss_and_gradient(streaming.scores, queries, labels, rows),
                "streaming bf16": _loss_and_gradient(in_bf16, queries, labels, rows),
                "F.cross_entropy fp32": _usual(queries, labels, rows),
            }  # fmt: skip
            for arm, (loss, gradient) in arms.items():
                error = (gradient.double() - exact[1]).norm() / exact[1].norm()
                found.append({
                    "vectors": geometry, "samples": name, "loss": exact[0].item(), "arm": arm,
                    "loss error": abs(loss.item() / exact[0].item() - 1), "gradient error": error.item(),
                })  # fmt: skip
    note = "" if native else "this CPU has no bfloat16 instructions: bf16 products are made in float32"
    return {"rows": found, "note": note}


def _loss_and_gradient(scores, queries, labels, rows):
    queries = queries.clone().requires_grad_()
    found = scores(queries, labels, rows)
    loss = cross_entropy(found.own, found.others).mean()
    return loss.detach(), torch.autograd.grad(loss, queries)[0]


def _plain(queries, labels, rows):
    return dense.split(queries @ rows.matrix().to(queries.dtype).T, labels)


def _usual(queries, labels, rows):
    queries = queries.clone().requires_grad_()
    loss = F.cross_entropy(queries @ rows.matrix().T, labels)
    return loss.detach(), torch.autograd.grad(loss, queries)[0]


def cpu(quick):
    """Milliseconds of loss and gradient, and times of frozen dense."""
    torch.set_num_threads(1)
    found = []
    for k, repeats in ((1000, 20), (10_000, 7)) if quick else ((1000, 40), (10_000, 11), (100_000, 5), (1_000_000, 3)):
        weights = matrix(k)
        arms = {"frozen dense": frozen(k, weights=weights)}
        arms |= {f"streaming {geometry}": ours(geometry, k) for geometry in GEOMETRIES}
        arms["streaming stored"] = _stored(k, weights)
        arms["head, auto"] = auto(k)
        if k <= 100_000:
            arms["trained dense, SGD"] = trained(k)
        found += _table(k, "fp32", in_turns(arms, repeats))
        if hasattr(F, "linear_cross_entropy") and k in (10_000, 100_000):
            named = {f"F.linear_cross_entropy, {c or 'default'}": partial(linear, chunk=c) for c in (None, 64, 256)}
            peers = {name: frozen(k, call=call, weights=weights) for name, call in named.items()}
            times = in_turns({"frozen dense": arms["frozen dense"], **peers}, 2)
            found += [row for row in _table(k, "fp32", times) if row["arm"].startswith("F.")]
        del arms, weights
    if not quick:
        k = 10_000
        arms = {"frozen dense": frozen(k, torch.bfloat16), "trained dense, SGD": trained(k, torch.bfloat16)}
        arms |= {f"streaming {geometry}": ours(geometry, k, torch.bfloat16) for geometry in GEOMETRIES}
        found += _table(k, "bf16", in_turns(arms, 1))
    return {"rows": found, "note": "" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else NO_BF16}


def _stored(k, weights):
    rows, (x, y) = StoredRows(weights), batch(k)

    def step():
        q = x.clone().requires_grad_()
        scores = streaming.scores(q, y, rows)
        cross_entropy(scores.own, scores.others).mean().backward()

    return step


def _table(k, dtype, times):
    base = times["frozen dense"]
    return [{"K": k, "dtype": dtype, "arm": arm, "ms": ms, "of frozen": ms / base} for arm, ms in times.items()]


MEMORY_ARMS = {
    "frozen dense": frozen,
    "trained dense, SGD": trained,
    "expected": expected_arm,
    **{f"streaming {geometry}": partial(ours, geometry) for geometry in GEOMETRIES},
}


def memory(quick):
    """Peak resident memory above the start, MiB."""
    sizes = {"frozen dense": (10_000, 1_000_000), "trained dense, SGD": (10_000, 100_000)}
    few = (10_000, 100_000) if quick else (10_000, 1_000_000)
    found = []
    for arm in MEMORY_ARMS:
        large = (10_000_000,) if arm == "streaming rademacher" and not quick else ()
        for k in (*(few if quick else sizes.get(arm, few)), *large):
            done = subprocess.run(
                [sys.executable, __file__, "--memory-of", arm, str(k)], capture_output=True, text=True
            )
            mib = float(done.stdout) if done.returncode == 0 else None
            found.append({"K": k, "dtype": "fp32", "arm": arm, "MiB": mib})
    return {"rows": found, "note": "frozen and trained dense include their W"}


def memory_of(arm, k):
    """Print MiB of peak resident memory above the start.  A small run first loads the libraries."""
    torch.set_num_threads(1)
    MEMORY_ARMS[arm](64)()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    start = _peak()
    MEMORY_ARMS[arm](k)()
    print((_peak() - start) / 1024)


def _peak():
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


def expected_section(quick):
    """Milliseconds of the expected normaliser, against frozen dense where that fits."""
    torch.set_num_threads(1)
    sizes = (1000, 1_000_000, 1_000_000_000)
    arms = {f"{geometry} {k}": expected_arm(k, geometry) for geometry in GEOMETRIES for k in sizes}
    times = in_turns(arms, 20)
    found = [{"K": int(name.split()[1]), "arm": f"expected {name.split()[0]}", "ms": ms} for name, ms in times.items()]
    k = 10_000 if quick else 1_000_000
    base = in_turns({"frozen dense": frozen(k)}, 1)["frozen dense"]
    found.append({"K": k, "arm": "frozen dense", "ms": base})
    for row in found:
        row["times as fast as frozen dense"] = base / row["ms"] if row["K"] == k else None
    return {"rows": found, "note": ""}


def structured(quick):
    """Hadamard blocks by fast transforms, beside frozen dense and rademacher rows."""
    torch.set_num_threads(1)
    k = 10_000 if quick else 100_000
    arms = {"frozen dense": frozen(k)}
    arms |= {f"streaming {geometry}": ours(geometry, k) for geometry in ("rademacher", "hadamard")}
    return {"rows": _table(k, "fp32", in_turns(arms, 5)), "note": ""}


def cuda(quick):
    """Milliseconds, TFLOP/s of 4BKD and peak MB of every arm and size.  Sizes that would not fit are left out."""
    begun, found = time.monotonic(), []
    for dim in (512, 2048):
        for b in (1024, 4096):
            for k in (10_000, 100_000, 1_000_000, 10_000_000):
                for name, make in _cuda_arms(b, k, dim).items():
                    if time.monotonic() - begun < (60 if quick else 500):
                        found.append({"B": b, "D": dim, "K": k, "arm": name} | _on_device(make, b, k, dim))
    most = partial(ours, "rademacher", 10**8, torch.bfloat16, b=1024, device="cuda")
    found.append({"B": 1024, "D": 512, "K": 10**8, "arm": "streaming rademacher"} | _on_device(most, 1024, 10**8, 512))
    return {"rows": found, "note": torch.cuda.get_device_name()}


def _cuda_arms(b, k, dim):
    size = {"b": b, "dim": dim, "device": "cuda"}
    arms = {f"streaming {geometry}": partial(ours, geometry, k, torch.bfloat16, **size) for geometry in GEOMETRIES}
    arms["expected"] = partial(expected_arm, k, **size)
    free = torch.cuda.get_device_properties(0).total_memory
    if 2 * k * dim + 14 * b * k < 0.8 * free:
        arms["frozen dense"] = partial(frozen, k, torch.bfloat16, **size)
        compiled = torch.compile(lambda q, w, y: F.cross_entropy(q @ w.T, y))
        arms["frozen dense, compiled"] = partial(frozen, k, torch.bfloat16, compiled, **size)
    if 6 * k * dim + 14 * b * k < 0.8 * free:
        arms["trained dense, SGD"] = partial(trained, k, torch.bfloat16, **size)
    if 6 * k * dim < 0.8 * free:
        arms |= {f"{name}, {kind.__name__}": partial(kind, k, torch.bfloat16, call, **size)
                 for name, call in _peers().items() for kind in (frozen, trained)}  # fmt: skip
    return arms


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


SECTIONS = {
    "correctness": correctness,
    "cpu": cpu,
    "memory": memory,
    "expected": expected_section,
    "structured": structured,
    "cuda": cuda,
}


def show(name, section):
    columns = list(dict.fromkeys(key for row in section["rows"] for key in row))
    print(f"\n## {name}\n{section['note']}\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in section["rows"]:
        cells = [row.get(column) for column in columns]
        print("|", " | ".join(f"{c:.3g}" if isinstance(c, float) else "" if c is None else str(c) for c in cells), "|")


def versions():
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="sections to run")
    parser.add_argument("--quick", action="store_true", help="small sizes: two minutes")
    parser.add_argument("--memory-of", nargs=2, metavar=("ARM", "K"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        memory_of(arguments.memory_of[0], int(arguments.memory_of[1]))
        return
    chosen = arguments.only or [name for name in SECTIONS if name != "cuda" or torch.cuda.is_available()]
    device = torch.cuda.get_device_name() if "cuda" in chosen else "cpu"
    path = Path(__file__).parent / "results" / f"head-{re.sub('[^a-z0-9]+', '-', device.lower())}.json"
    path.parent.mkdir(exist_ok=True)
    for name in chosen:
        section = SECTIONS[name](arguments.quick) | {"date": datetime.date.today().isoformat()}
        show(name, section)
        if not arguments.quick:
            document = json.loads(path.read_text()) if path.exists() else {"sections": {}}
            document |= {"versions": versions(), "device": device, "cpu": torch.backends.cpu.get_cpu_capability()}
            document["sections"][name] = section
            path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
