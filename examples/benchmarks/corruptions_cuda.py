"""Speed of the corruptions on a GPU: images per second of each, and all 75 cells of 10,000 images.

    python examples/benchmarks/corruptions_cuda.py [--seconds 60] [--out rows.jsonl] [--device cuda] [--tiny]

Images are on the device already, and random fields are drawn there; wall time after a synchronisation, the fastest of
three.  Rows are printed, and appended to the file, as they come; a corruption that fails does not keep the others from
being run.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from corruptions import pictures

from randhead.corruptions import corrupt, corrupt_each, names

SEVERITY = 3
BLOCKS = {32: 4096, 224: 256}  # images
CELLS, CELL_BLOCK = 10_000, 2_500  # images in all, and at once


def fastest(work: Callable[[], object], device: str) -> float:
    """Seconds of the fastest of three calls, after one that is not counted."""
    work()
    found = []
    for _ in range(3):
        wait(device)
        begun = time.perf_counter()
        work()
        wait(device)
        found.append(time.perf_counter() - begun)
    return min(found)


def wait(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def cells(images: torch.Tensor) -> None:
    """All severities of the 15 corruptions of the benchmark, and none of them kept."""
    for name in names("benchmark"):
        for start in range(0, len(images), CELL_BLOCK):
            for _ in corrupt_each(images[start : start + CELL_BLOCK], name):
                pass


def rows(device: str, tiny: bool) -> Iterator[Callable[[], dict]]:
    """What is measured, each a call that gives its row."""

    def rate(name: str, images: torch.Tensor, size: int) -> dict:
        seconds = fastest(lambda: corrupt(images, name, SEVERITY), device)
        return {"corruption": name, "size": size, "images": len(images), "images/s": round(len(images) / seconds)}

    def all_cells() -> dict:
        images = pictures(32, 64).repeat((20 if tiny else CELLS) // 64 + 1, 1, 1, 1)[: 20 if tiny else CELLS].to(device)
        return {"cells": 75, "size": 32, "images": len(images), "seconds": fastest(lambda: cells(images), device)}

    yield all_cells
    for size, count in BLOCKS.items():
        images = pictures(size, 8)
        images = images[:2].to(device) if tiny else images.repeat(count // 8, 1, 1, 1).to(device)
        for name in names():
            yield lambda name=name, images=images, size=size: rate(name, images, size)


def main() -> None:
    """Measure as long as there is time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--seconds", type=float, default=60.0, help="of the whole run")
    parser.add_argument("--out", type=Path, help="file for the rows, one JSON object per line")
    parser.add_argument("--tiny", action="store_true", help="a try: few images")
    options = parser.parse_args()
    torch.set_num_threads(1)
    until = time.monotonic() + options.seconds
    for measure in rows(options.device, options.tiny):
        if time.monotonic() > until:
            break
        try:
            row = measure()
        except RuntimeError as error:  # one that fails is a finding
            row = {"error": f"{type(error).__name__}: {str(error)[:200]}"}
        print(line := json.dumps(row), flush=True)
        if options.out:
            with options.out.open("a") as file:
                print(line, file=file)


if __name__ == "__main__":
    main()
