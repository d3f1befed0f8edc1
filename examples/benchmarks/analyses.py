"""What the analyses cost: one streamed pass at the size of ImageNet, and side by side with the libraries people use.

    python examples/benchmarks/analyses.py [--threads 1] [--part pass peers retrieval]

Three measurements, each in a fresh process, so that its memory is its own:

* pass: separability and compactness from one pass over 1,280,000 features, D = 512, K = 1,000, made batch by batch;
* peers: the same figures at 10,000 features beside scikit-learn's silhouette and pytorch-metric-learning's
  AccuracyCalculator (with faiss where it is installed); also the like-for-like pairs, silhouette and retrieval;
* retrieval: 60,000 queries among each other, D = 512, K = 100, every rank that mAP@R needs.

Process time is summed over threads, so it does not depend on what else the machine does; memory is the peak resident
size.  Prints a table and writes results/analyses.json beside this file.  Needs the `bench` extra.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from randhead import rng
from randhead.analyses import _class_statistics, _retrieval, class_statistics, compactness, separability

DIM = 512
RESULTS = Path(__file__).parent / "results" / "analyses.json"
PACKAGES = ("randhead", "torch", "numpy", "scikit-learn", "pytorch-metric-learning", "faiss-cpu")


class Stopwatch:
    """Seconds of wall clock and of all threads, added over `with` blocks."""

    def __init__(self):
        self.wall = self.process = 0.0

    def __enter__(self):
        self.start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.wall += time.perf_counter() - self.start[0]
        self.process += time.process_time() - self.start[1]


def peak_gib() -> float:
    """Peak resident memory of this process."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def samples(n: int, k: int, *, stream: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (n, DIM) around k random class vectors, float32, and labels (n,)."""
    vectors = rng.normals(0, "bench/vectors", torch.arange(k), DIM)
    labels = rng.integers(0, "bench/labels", torch.arange(n), 1, high=k, stream=stream).squeeze(1)
    return vectors[labels] + 2 * rng.normals(0, "bench/noise", torch.arange(n), DIM), labels


def one_pass(n: int = 1_280_000, k: int = 1000, batch: int = 8000) -> dict:
    """Separability and compactness of a stream; making the stream is not timed, its memory is counted."""
    vectors = rng.normals(0, "bench/vectors", torch.arange(k), DIM)
    noise = 2 * rng.normals(0, "bench/noise", torch.arange(batch), DIM)
    features = torch.empty_like(noise)
    watch = Stopwatch()
    total = _class_statistics.Accumulator(k, DIM, class_vectors=vectors)
    for i in range(n // batch):
        labels = rng.integers(0, "bench/labels", torch.arange(batch), 1, high=k, stream=i).squeeze(1)
        torch.add(vectors[labels], noise, out=features)
        with watch:
            total.add(features, labels)
    with watch:
        statistics = total.statistics()
        figures = separability.from_statistics(statistics, class_vectors=vectors).metrics
        figures |= compactness.from_statistics(statistics, class_vectors=vectors).metrics
    size = {"samples": n, "dim": DIM, "classes": k}
    return {**size, **seconds(watch), "peak_gib": peak_gib(), "r2": figures["class_separation_r2"]}


def peers(n: int = 10_000, k: int = 100) -> dict:
    """The pass, and the silhouette and retrieval of this library, beside those of others, on the same features."""
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils import accuracy_calculator, inference
    from sklearn.metrics import silhouette_score

    features, labels = samples(n, k)
    numpy_features, numpy_labels = features.double().numpy(), labels.numpy()
    search = (
        inference.FaissKNN() if installed("faiss-cpu") else inference.CustomKNN(CosineSimilarity(), batch_size=1000)
    )
    calculator = accuracy_calculator.AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r"),
        k="max_bin_count",  # as many neighbours as mAP@R needs, not all
        device=torch.device("cpu"),
        knn_func=search,
        kmeans_func=lambda *_: None,
    )
    unit = torch.nn.functional.normalize(features)

    def both():
        statistics = class_statistics(features, labels, num_classes=k)
        return separability.from_statistics(statistics), compactness.from_statistics(statistics)

    found = {
        "separability and compactness": timed(both, 5),
        "separability with silhouette": timed(lambda: separability.measure(features, labels, num_classes=k), 5),
        "retrieval": timed(lambda: _retrieval.retrieve(features, labels), 3),
        "scikit-learn silhouette, cosine": timed(
            lambda: silhouette_score(numpy_features, numpy_labels, metric="cosine"), 3
        ),
        "scikit-learn silhouette, euclidean": timed(lambda: silhouette_score(numpy_features, numpy_labels), 3),
        "pytorch-metric-learning calculator": timed(
            lambda: calculator.get_accuracy(unit, labels, unit, labels, ref_includes_query=True), 3
        ),
    }
    ours = found["separability and compactness"]["process_s"]
    others = {name: t["process_s"] / ours for name, t in found.items() if name.startswith(("scikit", "pytorch"))}
    return {"samples": n, "dim": DIM, "classes": k, "search": type(search).__name__, "times": found, "ratio": others}


def sixty_thousand(n: int = 60_000, k: int = 100) -> dict:
    """Recall, R-precision and mAP@R of n queries among each other."""
    features, labels = samples(n, k)
    before = peak_gib()
    with Stopwatch() as watch:
        figures = _retrieval.retrieve(features, labels).metrics()
    size = {"samples": n, "dim": DIM, "classes": k}
    return {
        **size,
        **seconds(watch),
        "peak_gib": peak_gib(),
        "peak_gib_before": before,
        "map_at_r": figures["map_at_r"],
    }


PARTS = {"pass": one_pass, "peers": peers, "retrieval": sixty_thousand}


def timed(call, repeats: int) -> dict:
    """The fastest of some calls, after one that is not counted."""
    call()
    runs = []
    for _ in range(repeats):
        with Stopwatch() as watch:
            call()
        runs.append(seconds(watch))
    return min(runs, key=lambda run: run["process_s"])


def seconds(watch: Stopwatch) -> dict:
    return {"process_s": watch.process, "wall_s": watch.wall}


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def fresh(part: str, threads: int) -> dict:
    """Run one part in a process of its own."""
    command = [sys.executable, __file__, "--in-process", part, "--threads", str(threads)]
    # For faiss and BLAS too: threads that wait for a core spin, and process time would count that against the peers.
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout)


def show(found: dict) -> None:
    for name, result in found.items():
        if name == "peers":
            for row, t in result["times"].items():
                ratio = result["ratio"].get(row)
                beside = f"   {ratio:6.1f} times the pass" if ratio else ""
                print(f"{row + ', 10,000':46}{t['process_s']:9.3f} s process{t['wall_s']:9.3f} s wall{beside}")
        else:
            label = f"{name}, {result['samples']:,} x {result['dim']}, {result['classes']:,} classes"
            times = f"{result['process_s']:9.1f} s process{result['wall_s']:9.1f} s wall"
            print(f"{label:46}{times}   {result['peak_gib']:6.2f} GiB peak")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--in-process", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.in_process:
        print(json.dumps(PARTS[options.in_process]()))
        return
    found = {part: fresh(part, options.threads) for part in options.part}
    show(found)
    head = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"python": platform.python_version()} | {name: installed(name) for name in PACKAGES},
        "machine": f"{platform.machine()}, {multiprocessing.cpu_count()} cores",
        "threads": options.threads,
    }
    print(", ".join(f"{k} {v}" for k, v in head["versions"].items()), head["date"], head["machine"], sep="   ")
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(kept | head | found, indent=2) + "\n")


if __name__ == "__main__":
    main()
