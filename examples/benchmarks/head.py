"""What the loss of a head costs with many classes: exactly (streaming), in expectation, and beside what people use.

    python examples/benchmarks/head.py [--quick] [--only correctness cpu memory expected structured cuda]

* correctness: loss and gradient of the streaming normaliser against float64 logits that are all in memory, also on
  samples fitted so well that the usual cross-entropy loses its digits;
* cpu: loss and gradient with B = 256, D = 512, beside `F.cross_entropy(x @ W.T, y)` with W frozen and with W trained
  by SGD with momentum, and beside `F.linear_cross_entropy`.  Thread CPU time of one thread, arms in turns, median;
* memory: peak resident memory above the start, every arm in a process of its own;
* expected: time and memory of the expected normaliser at 1,000 to 1,000,000,000 classes;
* structured: how fast a fast Walsh-Hadamard transform makes the logits of Hadamard blocks;
* cuda (where there is a device; under ten minutes): bfloat16 beside frozen, trained and compiled dense, losses that
  need no other class, Cut Cross-Entropy, Liger, QuACK and `F.linear_cross_entropy` where they are installed.  Median
  time of CUDA events; `head_cuda.py` alone writes rows as they come.

Prints tables and writes results/head-<device>.json beside this file.
"""

import argparse
import datetime
import json
import platform
import re
import subprocess
import sys
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
import torch.nn.functional as F
from head_arms import (
    GEOMETRIES,
    auto,
    batch,
    drawn,
    expected_arm,
    frozen,
    in_turns,
    linear,
    matrix,
    ours,
    stored,
    trained,
)
from head_cuda import cuda

from randhead.losses import cross_entropy, dense, streaming

NO_BF16 = (
    "this CPU has no bfloat16 instructions: torch's bf16 products are 100 times slower than its fp32 ones here, and "
    "streaming makes them in fp32; the bf16 figures say nothing about a CPU that has them"
)
PACKAGES = ("randhead", "torch", "triton", "cut-cross-entropy", "liger-kernel", "quack-kernels")


def correctness(quick):
    """Relative errors against float64 on ordinary and on well-fitted samples."""
    found = []
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    for geometry in GEOMETRIES:
        rows = drawn(geometry, 2000 if quick else 20_000)
        noise, labels = batch(rows.num_classes, b=32, norm=1.0)
        own = rows.gather(labels)
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
    loss = cross_entropy(found.target, found.non_target).mean()
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
    few = ((100, 100), (1000, 20), (10_000, 7))
    for k, repeats in few if quick else (*few, (100_000, 7), (1_000_000, 3)):
        weights = matrix(k)
        arms = {"frozen dense": frozen(k, weights=weights)}
        arms |= {f"streaming {geometry}": ours(geometry, k) for geometry in GEOMETRIES}
        arms["streaming stored"] = stored(weights)
        arms["head, auto"] = auto(k)
        if k <= 100_000:
            arms["trained dense, SGD"] = trained(k)
        peer = hasattr(F, "linear_cross_entropy") and k in (10_000, 100_000)
        for chunk in (64, 256) if peer else ():
            call = partial(linear, chunk=chunk)
            arms[f"F.linear_cross_entropy, {chunk}"] = frozen(k, call=call, weights=weights)
        found += _table(k, "fp32", in_turns(arms, repeats))
        if peer:  # apart: it takes ten times as long
            few = {
                "frozen dense": arms["frozen dense"],
                "F.linear_cross_entropy": frozen(k, call=linear, weights=weights),
            }
            found += _table(k, "fp32", in_turns(few, 2))[1:]
        del arms, weights
    if not quick:
        k = 10_000
        arms = {"frozen dense": frozen(k, torch.bfloat16), "trained dense, SGD": trained(k, torch.bfloat16)}
        arms |= {f"streaming {geometry}": ours(geometry, k, torch.bfloat16) for geometry in GEOMETRIES}
        found += _table(k, "bf16", in_turns(arms, 1))
    return {"rows": found, "note": "" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else NO_BF16}


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
    usual = (10_000, 1_000_000)
    sizes = {
        "trained dense, SGD": (10_000, 100_000),
        "streaming rademacher": (*usual, 10_000_000),
        "expected": (*usual, 1_000_000_000),
    }
    found = []
    for arm in MEMORY_ARMS:
        for k in (10_000, 100_000) if quick else sizes.get(arm, usual):
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
