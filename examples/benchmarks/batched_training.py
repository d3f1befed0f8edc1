"""Many small trainings at once: S networks in one process (vmap, groups), beside S processes and one after the other.

    python examples/benchmarks/batched_training.py --threads 1 --out batched_training_cpu.json
    python examples/benchmarks/batched_training.py --device cuda --out batched_training_cuda.json

The ways are those of `batched_networks.py`: "alone" is one training in one process, so also the rate of S trainings one
after the other; "processes" are S of these side by side, each with its share of the processor's threads; "vmap" and
"grouped" are S networks in one process.  All are steps of the network, a fixed dot-product head with cross entropy, its
gradient and SGD with Nesterov momentum, on random images of 32 px that are on the device, in float32 on a CPU and with
autocast to bfloat16 on a GPU; without crops, validation and checkpoints.

Every measurement has processes of its own, forked from one that has imported torch but not used it: one that dies costs
its own row.  "images_per_second" is of all networks, in the window in which all processes were training; "ratio" is to
the mean of "alone" right before and right after the rows of the same S.  The document is written again after each row.
A GPU is shared in time slices: nothing here starts the multi-process service (MPS) or needs it.

On a CPU (`results/batched_training_cpu.json`: two cores shared with other programs, so that wall times are noise; one
thread per process; images per second of processor time relative to "alone", which itself varied by 12 percent either
way) batching does not win: processes 0.87 to 1.08; grouped 1.03 and 1.09 with 2 networks, 1.11 and 0.75 with 4, 0.67 to
0.90 with 8 and 16; vmap 0.57 to 0.90.  Grouped takes 0.45 to 0.76 of the processes' memory.

Nothing was measured on a GPU yet.  Therefore `randhead study` trains side by side (`--jobs`) and has no `--batched`.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing import connection
from pathlib import Path

import numpy as np
import torch
from batched_networks import Setting, Training, differences

from randhead import registry
from randhead.device import device_name, versions
from randhead.files import write_json

WARM_UP = {"cpu": 1, "cuda": 5}  # steps
LEAST_STEPS = 2  # of a measurement
PAUSE_S = 0.1  # at least, between two times that the device is waited for
ROW_S = {"cpu": 300.0, "cuda": 60.0}  # a measurement that takes longer is killed
WAYS = ["processes", "grouped", "vmap"]
NAMED = ("network", "batch", "layout", "way", "networks")
RATIOS = {"images_per_second": "ratio", "images_per_processor_second": "ratio_per_processor_second"}
DEFAULTS = {
    "cpu": {
        "cells": [("small_resnet", 16), ("resnet9", 4)],
        "counts": [16, 8, 4, 2, 1], "seconds": 1.5, "limit": 2000.0,
    },
    "cuda": {
        "cells": [("small_resnet", 512), ("resnet9", 512), ("small_resnet", 128), ("resnet9", 128)],
        "counts": [16, 8, 4, 2], "seconds": 0.8, "limit": 220.0,
    },
}  # fmt: skip
NO_RULE = "There is a performance drop"  # vmap has none for a step of the average pooling
FORK = multiprocessing.get_context("fork")


def work(function: Callable, spec: dict, rank: int, barrier, folder: Path) -> None:
    """A process: what the function returns, or its error, is left in a file of the folder."""
    try:
        found = function(spec, rank, barrier)
    except Exception as error:
        found = {"error": f"{type(error).__name__}: {str(error)[:200]}"}
    (folder / f"{rank}.json").write_text(json.dumps(found))
    sys.exit("error" in found)


def together(function: Callable, spec: dict, count: int) -> list[dict]:
    """What `count` processes found; one dictionary with the error if one of them dies or takes too long."""
    with tempfile.TemporaryDirectory() as scratch:
        barrier, folder = FORK.Barrier(count), Path(scratch)
        processes = [FORK.Process(target=work, args=(function, spec, rank, barrier, folder)) for rank in range(count)]
        for process in processes:
            process.start()
        failed = _first_failure(processes, ROW_S[spec["device"]])
        files = [folder / f"{rank}.json" for rank in range(count)]
        found = [json.loads(text) for text in (file.read_text() for file in files if file.exists()) if text]
    return ([part for part in found if "error" in part] or [{"error": failed}])[:1] if failed else found


def train(spec: dict, rank: int, barrier) -> dict:
    """Train until the time of a row is over."""
    warnings.filterwarnings("ignore", NO_RULE)
    torch.set_num_threads(spec["threads"])
    before, is_cuda = _resident_mb(), spec["device"] == "cuda"
    seeds = [rank] if spec["way"] in ("alone", "processes") else range(spec["networks"])
    setting = Setting(spec["network"], spec["batch"], spec["layout"], device=spec["device"], autocast=is_cuda)
    training = Training("alone" if spec["way"] == "processes" else spec["way"], setting, seeds)
    for _ in range(WARM_UP[spec["device"]]):
        training.step()
    _wait(spec)
    begun = time.monotonic()
    training.step(), _wait(spec)
    at_once = max(1, int(PAUSE_S / (time.monotonic() - begun)))
    barrier.wait(ROW_S[spec["device"]])
    found = {"device": device_name(torch.device(spec["device"]))}
    if is_cuda:
        free, total = torch.cuda.mem_get_info()
        found["device_mb"] = (total - free) / 1e6  # of all processes, with what CUDA itself takes
    found["marks"] = list(_marks(training, spec, at_once))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 - before
    return found | {"peak_mb": torch.cuda.max_memory_allocated() / 1e6 if is_cuda else peak}


def _marks(training: Training, spec: dict, at_once: int) -> Iterator[tuple[float, float, int]]:
    """(time, processor time, images so far), whenever the device has been waited for."""
    begun, steps = time.monotonic(), 0
    per_step = training.count * training.setting.batch
    yield begun, time.process_time(), 0
    while steps < LEAST_STEPS or time.monotonic() - begun < spec["seconds"]:
        for _ in range(at_once):
            training.step()
        _wait(spec)
        steps += at_once
        yield time.monotonic(), time.process_time(), steps * per_step


def _wait(spec: dict) -> None:
    if spec["device"] == "cuda":
        torch.cuda.synchronize()


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def rates(marks: list[list]) -> dict:
    """Images per second over all processes, in the window in which all were training."""
    times, processor, images = zip(*(np.array(each).T for each in marks), strict=True)
    window = max(each[0] for each in times), min(each[-1] for each in times)
    within = [np.diff(np.interp(window, *pair))[0] for pair in zip(times, images, strict=True)]
    used = [np.diff(np.interp(window, *pair))[0] for pair in zip(times, processor, strict=True)]
    seconds = window[1] - window[0]
    return {
        "images_per_second": sum(within) / seconds,
        "images_per_processor_second": sum(within) / sum(used),
        "processors_busy": sum(used) / seconds,
        "seconds": seconds,
    }


def measure(spec: dict) -> dict:
    """The figures of one row, or its error."""
    count = spec["networks"] if spec["way"] == "processes" else 1
    parts = together(train, spec | {"threads": max(1, spec["threads"] // count)}, count)
    if "error" in parts[0]:
        return parts[0]
    found = rates([part["marks"] for part in parts]) | {"peak_mb": sum(part["peak_mb"] for part in parts)}
    if "device_mb" in parts[0]:
        found["device_mb"] = parts[0]["device_mb"]
    return {key: float(f"{value:.4g}") for key, value in found.items()} | {"device": parts[0]["device"]}


def check(spec: dict, rank: int, barrier) -> dict:
    """The largest differences between networks trained alone and together, on a CPU in float32."""
    warnings.filterwarnings("ignore", NO_RULE)
    torch.set_num_threads(spec["threads"])
    return differences(Setting(spec["network"], 8, image_size=16, images=64), networks=3, steps=5)


def _first_failure(processes: list, limit: float) -> str | None:
    """Wait for all processes; if one fails, the others are killed."""
    waiting, failed, until = list(processes), None, time.monotonic() + limit
    while waiting and not failed:
        ended = connection.wait([process.sentinel for process in waiting], max(0.0, until - time.monotonic()))
        for process in [process for process in waiting if process.sentinel in ended]:
            waiting.remove(process)
            process.join()
            if process.exitcode:
                failed = f"a process ended with {process.exitcode}"
        if not ended:
            failed = f"took longer than {limit:.0f} s"
    for process in waiting:
        process.kill()
        process.join()
    return failed


def cells(options: argparse.Namespace) -> Iterator[list[dict]]:
    """The rows of each network and batch size: "alone" first, between two numbers of networks, and last."""
    shared = {"device": options.device, "threads": options.threads, "seconds": options.seconds}
    laid_out = set()
    for network, batch in options.cells:
        cell = {"network": network, "batch": batch, "layout": "channels_last"} | shared
        alone = cell | {"way": "alone", "networks": 1}
        specs = [alone]
        for networks in options.counts:
            ways = [way for way in options.ways if networks > 1 or way == "vmap"]  # the others are "alone" then
            specs += [*(cell | {"way": way, "networks": networks} for way in ways), alone]
        if network not in laid_out:  # the other layout is measured once
            laid_out.add(network)
            ways = [("alone", 1), *((way, options.counts[0]) for way in options.ways if way != "processes")]
            other = cell | {"layout": "contiguous"}
            specs += [*(other | {"way": way, "networks": networks} for way, networks in ways), alone]
        yield specs


def run(options: argparse.Namespace) -> dict:
    """Measure everything, print each row and keep the document up to date."""
    until, document = time.monotonic() + options.limit, described(options)
    options.cells = [cell for cell in options.cells if _is_known(cell[0])]
    for network in dict(options.cells):
        (found,) = together(check, {"network": network, "threads": options.threads, "device": "cpu"}, 1)
        document["largest_differences"][network] = found
        print(json.dumps({"network": network, "largest differences": found}), flush=True)
    for specs in cells(options):
        rows = []
        for spec in specs:
            late = {"error": "the time of the whole run was over"}
            found = measure(spec) if time.monotonic() < until else late
            document["device"] = found.pop("device", document["device"])
            rows.append({key: spec[key] for key in NAMED} | found)
            compare(rows)
            print(json.dumps(rows[-1]), flush=True)  # its ratio is to the one before it until there is one after it
            document["load_average_after"] = _load()
            if options.out:
                write_json(options.out, document | {"rows": document["rows"] + rows})
        document["rows"] += rows
    return document


def described(options: argparse.Namespace) -> dict:
    """The document without its rows."""
    return {
        "device": None,
        "precision": {"cpu": "float32", "cuda": "bfloat16"}[options.device],
        "threads": options.threads,
        "date": datetime.now(UTC).date().isoformat(),
        **versions(),
        "load_average_before": _load(),
        "load_average_after": None,
        "largest_differences": {},
        "rows": [],
    }


def compare(rows: list[dict]) -> None:
    """Add to each row how many times the rate of "alone" it has: the mean of the nearest ones before and after it."""
    alone = [index for index, row in enumerate(rows) if is_base(row)]
    for index, row in enumerate(rows):
        if is_base(row) or "images_per_second" not in row:
            continue
        near = [max((i for i in alone if i < index), default=None), min((i for i in alone if i > index), default=None)]
        for key, name in RATIOS.items():
            base = [rows[i][key] for i in near if i is not None]
            if base:
                row[name] = round(row[key] * len(base) / sum(base), 3)


def is_base(row: dict) -> bool:
    """Whether the row is one of those that others are compared with."""
    return (row["way"], row["layout"]) == ("alone", "channels_last") and "images_per_second" in row


def _is_known(network: str) -> bool:
    if network in registry.names("backbones"):
        return True
    print(f"skipped: there is no backbone {network} in this version", file=sys.stderr)
    return False


def _load() -> list[float]:
    return [round(load, 1) for load in os.getloadavg()]


def _cell(text: str) -> tuple[str, int]:
    network, _, batch = text.rpartition(":")
    return network, int(batch)


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options; what is not given is as the device can bear it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--cells", type=_cell, nargs="+", help="BACKBONE:BATCH, the images per network and step")
    parser.add_argument("--counts", type=int, nargs="+", help="numbers of networks S")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of all processes together")
    parser.add_argument("--seconds", type=float, help="of a row, after its warm-up")
    parser.add_argument("--limit", type=float, help="seconds of the whole run; rows after that are left out")
    parser.add_argument("--out", type=Path, help="a JSON file, written again after each row")
    options = parser.parse_args(arguments)
    for name, value in DEFAULTS[options.device].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


if __name__ == "__main__":
    run(parsed())
