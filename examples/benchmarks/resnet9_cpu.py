"""Test accuracy of `resnet9` after five epochs on a CPU, beside `small_resnet` for as many epochs as take as long.

FOLDER has 32-pixel images in train/CLASS and test/CLASS, such as CIFAR-10.  Both networks train on the same 10,000 of
them, with crops and mirroring.  Time is process time, of all threads, of the whole training with its validation and
test.  The time of an epoch of `small_resnet` is measured first; then it trains for as many as fit, rounded up.

`small_resnet` has the default recipe.  `resnet9` has the recipe `fast` for a short training: batches of 128 images, so
that there are 372 steps and not 95, at Page's rate per image, and without cutout, which is for long trainings.

    python examples/benchmarks/resnet9_cpu.py FOLDER [--arms fixed learned] [--seeds 0] [--epochs 5]

Rows are printed as they come, and written to examples/benchmarks/results/resnet9_cpu.json.
"""

import argparse
import datetime
import itertools
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from randhead import datasets, rng, train
from randhead.datasets import Dataset, Split, TensorImages
from randhead.device import device_name, resolve_dtype, versions
from randhead.files import write_json
from randhead.train.events import EpochDone, Event

SIZES = {"train": 9_500, "val": 500, "test": 2_500}  # images
VALIDATION = 0.05  # share of the folder's training images
SHORT = {"recipe": "fast", "train.batch_size": 128, "optim.lr": 0.1, "data.cutout": 0}
RESULTS = Path(__file__).parent / "results" / "resnet9_cpu.json"


def load(folder: Path) -> Dataset:
    """Some of the images of each split, drawn at random."""
    found = datasets.load(folder, validation=VALIDATION)
    splits = {name: some(found.splits[name], count) for name, count in SIZES.items()}
    return Dataset(found.name, found.class_names, splits, found.image_size)


def some(split: Split, count: int) -> Split:
    """`count` images of a split, in memory."""
    rows = rng.permutation(0, "benchmark/images", len(split))[:count]
    return Split(TensorImages(next(split.images.batches(rows, count)), torch.arange(len(rows))), split.labels[rows])


def trained(data: Dataset, network: str, epochs: int, **settings: Any) -> dict[str, Any]:
    """A training: its process time in seconds, and the test accuracy."""
    chosen = {"backbone.name": network, "train.epochs": epochs, "machine.device": "cpu", **settings}
    with tempfile.TemporaryDirectory() as root:
        begun = time.process_time()
        summary = train.fit(chosen, dataset=data, root=root, warn=print)
        seconds = time.process_time() - begun
    return {
        "network": network,
        "epochs": epochs,
        "process_seconds": round(seconds, 1),
        "test_accuracy": round(summary.test["accuracy"], 4),
        "selected_epoch": summary.selected.epoch,
    }


def seconds_per_epoch(data: Dataset) -> float:
    """Process time of the second epoch of `small_resnet`, with its validation."""
    ends: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, EpochDone):
            ends.append(time.process_time())

    with tempfile.TemporaryDirectory() as root:
        train.fit({"train.epochs": 2, "machine.device": "cpu"}, dataset=data, root=root, on_event=note, warn=print)
    return ends[1] - ends[0]


def pairs(data: Dataset, arms: list[str], seeds: list[int], epochs: int, per_epoch: float) -> Iterator[dict[str, Any]]:
    """Both networks for each kind of class vectors and seed, in about the same time, a row for each training."""
    for seed, arm in itertools.product(seeds, arms):
        settings = {"head.trainable": arm == "learned", "train.seed": seed, "train.head_seed": seed}
        row = trained(data, "resnet9", epochs, **settings, **SHORT)
        yield {"class_vectors": arm, "seed": seed, **row}
        as_many = math.ceil(row["process_seconds"] / per_epoch)
        yield {"class_vectors": arm, "seed": seed, **trained(data, "small_resnet", as_many, **settings)}


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arms", nargs="+", choices=["fixed", "learned"], default=["fixed", "learned"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=5, help="of resnet9")
    arguments = parser.parse_args()
    data = load(arguments.folder)
    per_epoch = seconds_per_epoch(data)
    print(f"small_resnet: {per_epoch:.1f} s per epoch", flush=True)
    document = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": versions(),
        "device": device_name(torch.device("cpu")),
        "precision": str(resolve_dtype("auto", torch.device("cpu"))).removeprefix("torch."),
        "images": SIZES,
        "epochs_of_resnet9": arguments.epochs,
        "seconds_per_epoch_of_small_resnet": round(per_epoch, 2),
    }
    rows: list[dict[str, Any]] = []
    for row in pairs(data, arguments.arms, arguments.seeds, arguments.epochs, per_epoch):
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        rows.append(row)
        write_json(RESULTS, {**document, "rows": rows})


if __name__ == "__main__":
    main()
