"""Images per second in training: our loop beside one written as the official code is, same network, same images.

The official way (arXiv 2011.08704): a DataLoader over PIL images with RandomCrop(padding=10), RandomHorizontalFlip,
ToTensor and Normalize(0.5, 0.5); float32, NCHW, nll_loss of log_softmax, SGD with Nesterov momentum.  Ours are the
functions that `randhead train` calls.  The arms take turns step by step, in one process, and medians are compared: on a
CPU of process time, so that other programs matter less, with no worker processes; on a GPU of wall time, with workers.

On a CPU without native bfloat16 both arms spend over 90 percent of a step in the same float32 convolutions, at the rate
that oneDNN reaches: channels-last makes them up to 1.8 times as fast where maps are large, but not the gradient of the
weights, which takes 40 percent of their time; the images cost under one percent.

    python examples/benchmarks/train_throughput.py --out examples/benchmarks/results/train_throughput.json
    python examples/benchmarks/train_throughput.py --device cuda --sizes 32 --batch 512 --steps 50 --compile
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms

from randhead import backbones
from randhead.config import parse
from randhead.datasets import Dataset, Split, TensorImages
from randhead.device import device_name, resolve_dtype, versions
from randhead.runs import Run
from randhead.train.trainer import Trainer

CLASSES = 10
WARM_UP = 1  # steps


class PilImages(torch.utils.data.Dataset):
    """Images kept as an array and made into PIL images one by one, as torchvision's sets do."""

    def __init__(self, pixels: torch.Tensor, labels: torch.Tensor):
        self.pixels, self.labels = pixels.permute(0, 2, 3, 1).numpy(), labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(pixels.shape[-1], padding=10),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5,) * 3, (0.5,) * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def images(count: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random pixels and labels: how fast a step is does not depend on what is in them."""
    draw = np.random.default_rng(0)
    pixels = torch.from_numpy(draw.integers(0, 256, (count, 3, size, size), dtype=np.uint8))
    return pixels, torch.from_numpy(draw.integers(0, CLASSES, count))


def official(size: int, batch: int, steps: int, device: torch.device, workers: int) -> Iterator[None]:
    """One step of the official way for each `next`."""
    encoder = backbones.build("resnet18", image_size=size)
    model = torch.nn.Sequential(encoder, torch.nn.Linear(encoder.dim, CLASSES)).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    data = PilImages(*images(batch * steps, size))
    for inputs, labels in DataLoader(data, batch, shuffle=True, num_workers=workers, pin_memory=device.type == "cuda"):
        inputs, labels = inputs.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = F.nll_loss(F.log_softmax(model(inputs), dim=1), labels)
        loss.backward()
        optimizer.step()
        loss.item()
        yield


def ours(size: int, batch: int, steps: int, device: torch.device, folder: Path, *, compiled: bool) -> Iterator[None]:
    """One step of `randhead train` for each `next`."""
    pixels, labels = images(batch * steps, size)
    place = TensorImages(pixels.to(device), torch.arange(len(labels), device=device))
    split = Split(place, labels.to(device))
    dataset = Dataset("random", tuple(map(str, range(CLASSES))), dict.fromkeys(("train", "val", "test"), split), size)
    config = parse.build(
        {
            "backbone.name": "resnet18",
            "train.batch_size": batch,
            "train.epochs": 1,
            "data.crop_padding": 10,
            "data.normalise": "half",
            "machine.device": device.type,
            "machine.compile": compiled,
        }
    )
    trainer = Trainer(config, dataset, Run(folder), lambda: False)
    trainer.saved_at = time.monotonic() + 1e9  # no checkpoints: they are measured elsewhere
    for _ in trainer.steps():
        yield


def timed(step: Iterator[None], device: torch.device) -> float:
    """Seconds of one step: process time on a CPU, wall time on a GPU."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    begun = clock()
    next(step)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - begun


def compare(size: int, batch: int, steps: int, device: torch.device, workers: int, compiled: bool) -> dict:
    """Images per second of each arm, taking turns, and how many times as fast as the official way ours is."""
    total = steps + WARM_UP
    with tempfile.TemporaryDirectory() as scratch:
        arms = {
            "official": official(size, batch, total, device, workers),
            "ours": ours(size, batch, total, device, Path(scratch), compiled=False),
        }
        if compiled:
            arms["ours compiled"] = ours(size, batch, total, device, Path(scratch), compiled=True)
        seconds = {name: [] for name in arms}
        for _ in range(total):
            for name, step in arms.items():
                seconds[name].append(timed(step, device))
    rates = {name: batch / statistics.median(times[WARM_UP:]) for name, times in seconds.items()}
    ratios = {name: rate / rates["official"] for name, rate in rates.items()}
    shown = "  ".join(f"{name} {rate:.1f}/s ({ratios[name]:.2f})" for name, rate in rates.items())
    print(f"{size} px, batch {batch}, {steps} steps: {shown}", flush=True)
    return {
        "image_size": size,
        "batch_size": batch,
        "steps": steps,
        "images_per_second": {name: round(rate, 2) for name, rate in rates.items()},
        "times_the_official": {name: round(ratio, 3) for name, ratio in ratios.items()},
    }


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 96])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--workers", type=int, default=0, help="of the official way's DataLoader")
    parser.add_argument("--compile", action="store_true", help="measure ours with --compile as well")
    parser.add_argument("--out", type=Path, help="a JSON file for the result")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    results = [
        compare(size, arguments.batch, arguments.steps, device, arguments.workers, arguments.compile)
        for size in arguments.sizes
    ]
    document = {
        "results": results,
        "device": device_name(device),
        "precision": str(resolve_dtype("auto", device)).removeprefix("torch."),
        "clock": "wall time" if device.type == "cuda" else "process time",
        "workers": arguments.workers,
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "date": datetime.now(UTC).date().isoformat(),
        **versions(),
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
