"""Speed of the corruptions on a GPU: images per second of each; all 75 cells of 10,000 images made, tested, written.

    python examples/benchmarks/corruptions_cuda.py [--seconds 60] [--out rows.jsonl] [--device cuda] [--tiny]

Images are on the device already, and random fields are drawn there; wall time after a synchronisation, the fastest of
three, or for tested and written cells the only one.  Rows are printed, and appended to the file, as they come; a
corruption that fails does not keep the others from being run.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from corruptions import pictures

from randhead import ClassVectorHead, backbones
from randhead.corruptions import corrupt, corrupt_each, names
from randhead.datasets import Split, TensorImages
from randhead.model import Classifier
from randhead.preprocess import Preprocess
from randhead.robustness import CorruptionSettings, export, grid
from randhead.robustness.accumulator import Accumulator
from randhead.robustness.images import CorruptedImages
from randhead.robustness.settings import choose_grid

SEVERITY = 3
BLOCKS = {32: 4096, 224: 256}  # images
CELLS, CELL_BLOCK = 10_000, 2_500  # images in all, and at once


def fastest(work: Callable[[], object], device: str) -> float:
    """Seconds of the fastest of three calls, after one that is not counted."""
    work()
    return min(once(work, device) for _ in range(3))


def once(work: Callable[[], object], device: str) -> float:
    """Seconds of one call."""
    wait(device)
    begun = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - begun


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


def source_of(images: torch.Tensor) -> CorruptedImages:
    """Images as the test split of ten classes."""
    labels = torch.arange(len(images)) % 10
    split = Split(TensorImages(images, torch.arange(len(images))), labels.to(images.device))
    return CorruptedImages(split, CorruptionSettings())


def evaluated(images: torch.Tensor, device: str, backbone_name: str) -> None:
    """What `randhead evaluate --corruptions` does once a run is loaded, on a GPU in bfloat16."""
    backbone = backbones.build(backbone_name, image_size=images.shape[-1])
    model = Classifier(backbone, ClassVectorHead(10, backbone.dim, "gaussian")).to(device)
    moments = torch.full((3,), 0.5), torch.full((3,), 0.25)
    preprocess = Preprocess(*moments, torch.device(device), torch.bfloat16 if device == "cuda" else torch.float32)
    source = source_of(images)
    for _ in grid.run(model, source, choose_grid(["benchmark"]), preprocess, Accumulator(len(images), {})):
        pass


def written(images: torch.Tensor) -> None:
    """What `randhead corrupt-test --save` does: arrays of all cells on a disk."""
    with tempfile.TemporaryDirectory() as folder:
        for _ in export.write(Path(folder), source_of(images), choose_grid(["benchmark"]), list("abcdefghij")):
            pass


def rows(device: str, tiny: bool) -> Iterator[Callable[[], dict]]:
    """What is measured, each a call that gives its row."""

    def rate(name: str, images: torch.Tensor, size: int) -> dict:
        seconds = fastest(lambda: corrupt(images, name, SEVERITY), device)
        return {"corruption": name, "size": size, "images": len(images), "images/s": round(len(images) / seconds)}

    def all_cells(what: str, work: Callable[[torch.Tensor], None], timed: Callable[..., float]) -> dict:
        images = pictures(32, 64).repeat(count // 64 + 1, 1, 1, 1)[:count].to(device)
        seconds = timed(lambda: work(images), device)
        return {"cells": 75, "what": what, "size": 32, "images": count, "seconds": round(seconds, 3)}

    count, network = (4, "small_resnet") if tiny else (CELLS, "resnet18")
    yield lambda: all_cells("made", cells, fastest)
    yield lambda: all_cells(f"tested with {network}", lambda images: evaluated(images, device, network), once)
    yield lambda: all_cells("written", written, once)
    for size, block in BLOCKS.items():
        images = pictures(size, 8)
        images = images[:2].to(device) if tiny else images.repeat(block // 8, 1, 1, 1).to(device)
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
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU; --device cpu --tiny tries the script on a CPU")
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
