"""Training on a GPU: images per second of our loop, as it is, compiled and as CUDA graphs, beside a bare loop.

    python examples/benchmarks/train_cuda.py [--seconds 480] [--out rows.jsonl] [--only ARM ...]
    python examples/benchmarks/train_cuda.py --device cpu --tiny

The bare loop is the least that a training can be: the same network and class vectors on one fixed batch, autocast,
channels last, fused SGD, and nothing is read.  Ours are the steps of `randhead train` with images on the device.  Each
arm is a process of its own, and its row is printed, and appended to the file, as it comes: one that dies or takes too
long costs its own row only.  Arms are in the order of their importance.  Rates are those of the steady state: wall time
of the last nine tenths of an epoch.

"weights" is a hash of the weights after some steps from the same start, and "equals" whether it is that of our loop as
it is; "repeats", whether a second training of that arm has it, without which "equals" says nothing.

The whole command, on files, is measured by `walk.py`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from randhead import build_model
from randhead.config import parse
from randhead.datasets import Dataset, Split, TensorImages
from randhead.device import device_name
from randhead.runs import Run, checkpoint
from randhead.train.trainer import Trainer

CLASSES = 10
FULL = {"batch": 512, "steps": 100, "size": 32}
TINY = {"batch": 2, "steps": 4, "size": 8}
SETTINGS = {"ours": {}, "ours, graphs": {"machine.cuda_graphs": True}, "ours, compiled": {"machine.compile": True}}
ARMS = [
    "bare: resnet18", "ours: resnet18", "ours: small_resnet", "ours, graphs: small_resnet",
    "ours, compiled: resnet18", "bare, compiled: resnet18", "ours, graphs: resnet18", "bare: small_resnet",
    "ours, compiled: small_resnet", "bare, compiled: small_resnet",
]  # fmt: skip
ON_CPU = ["bare: small_resnet", "ours: small_resnet"]
HASHED = 12  # steps after which weights are hashed: more than are run before a step is recorded
EPOCHS = 3  # of which the fastest counts: another program can only slow one down


def main() -> None:
    """Run the arms, each in a process of its own, and print their rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--seconds", type=float, default=480, help="of the whole run")
    parser.add_argument("--out", type=Path, help="a file to which rows are appended")
    parser.add_argument("--only", nargs="+", metavar="ARM", help=f"in quotes; by default all: {'; '.join(ARMS)}")
    parser.add_argument("--tiny", action="store_true", help="a try: a few small steps, nothing of it a measurement")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU; --device cpu --tiny tries the script on a CPU")
    if given.arm:
        print(json.dumps(measured(given)))
        return
    arms = given.only or (ARMS if given.device == "cuda" else ON_CPU)
    until, eager, failed = time.monotonic() + given.seconds, {}, 0  # eager: hashes of the weights of "ours"
    for arm in arms:
        row = in_process(arm, sys.argv[1:], until - time.monotonic())
        if arm.startswith("ours"):
            network, weights = arm.partition(": ")[2], row.get("weights")
            if arm == f"ours: {network}":
                eager[network] = weights
            row["equals"] = weights == eager[network] if weights and eager.get(network) else None
        failed += "error" in row
        print(json.dumps(row), flush=True)
        if given.out:
            with given.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
    sys.exit(bool(failed))


def in_process(arm: str, words: list[str], seconds: float) -> dict:
    """The row of an arm, from a process of its own."""
    if seconds <= 0:
        return {"arm": arm, "left_out": "no time was left"}
    begun = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, __file__, *words, "--arm", arm], capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return {"arm": arm, "left_out": f"ended after the last {seconds:.0f} s"}
    if done.returncode:
        return {"arm": arm, "error": f"exit {done.returncode}: {' '.join(done.stderr.split())[-300:]}"}
    return {"arm": arm, **json.loads(done.stdout.splitlines()[-1]), "took_s": round(time.monotonic() - begun, 1)}


def measured(given: argparse.Namespace) -> dict:
    """The numbers of one arm."""
    kind, _, network = given.arm.partition(": ")
    device = torch.device(given.device)
    scale = TINY if given.tiny else FULL
    found = {"batch": scale["batch"], "device": device_name(device)}
    if kind.startswith("bare"):
        return {"images_per_second": bare(network, scale, device, compiled=kind.endswith("compiled")), **found}
    made = [trainer(network, scale, device, SETTINGS[kind]) for _ in range(2)]
    weights = [hashed(each, min(HASHED, scale["steps"] - 1)) for each in made]
    rate = ours(made[0], scale["batch"], device)
    return {"images_per_second": rate, **found, "weights": weights[0], "repeats": weights[0] == weights[1]}


def bare(network: str, scale: dict, device: torch.device, *, compiled: bool) -> float:
    """Images per second of the bare loop."""
    batch, size = scale["batch"], scale["size"]
    model = build_model(network, num_classes=CLASSES, image_size=size).to(device, memory_format=torch.channels_last)
    backbone = torch.compile(model.backbone) if compiled else model.backbone
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
    images = torch.randn(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (batch,), device=device)
    rows = model.head.class_vectors()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            features = backbone(images)
        F.cross_entropy(features.float() @ rows.T, labels).backward()
        optimizer.step()

    return max(rate_of(step, batch, scale["steps"], device) for _ in range(EPOCHS))


def trainer(network: str, scale: dict, device: torch.device, settings: dict) -> Trainer:
    """A training on random images, which are on the device."""
    batch, size, draw = scale["batch"], scale["size"], np.random.default_rng(0)
    count = batch * scale["steps"]
    pixels = torch.from_numpy(draw.integers(0, 256, (count, 3, size, size), dtype=np.uint8)).to(device)
    labels = torch.from_numpy(draw.integers(0, CLASSES, count)).to(device)
    split = Split(TensorImages(pixels, torch.arange(count, device=device)), labels)
    splits = dict.fromkeys(("train", "val", "test"), split)
    dataset = Dataset("random", tuple(map(str, range(CLASSES))), splits, size)
    common = {"backbone.name": network, "train.batch_size": batch, "train.epochs": EPOCHS + 1, "data.crop_padding": 4}
    config = parse.build({**common, "data.normalise": "half", "machine.device": device.type, **settings})
    made = Trainer(config, dataset, Run(Path(tempfile.mkdtemp())), lambda: False)
    made.saved_at = time.monotonic() + 1e9  # no checkpoints
    return made


def hashed(made: Trainer, steps: int) -> str:
    """A hash of the weights after some steps; the rest of the epoch is left out."""
    coming = made.steps()
    for _ in range(steps):
        next(coming)
    made.read_losses()
    made.state.epoch, made.state.step = 1, made.steps_per_epoch
    return checkpoint.state_sha256({name: each.cpu() for name, each in made.model.state_dict().items()})[:16]


def ours(made: Trainer, batch: int, device: torch.device) -> float:
    """Images per second of our steps."""
    rates = []
    for _ in range(EPOCHS):
        coming = made.steps()
        rates.append(rate_of(lambda coming=coming: next(coming), batch, made.steps_per_epoch, device))
        made.state.epoch += 1
    return max(rates)


def rate_of(step, batch: int, steps: int, device: torch.device) -> float:
    """Images per second of the last nine tenths of some steps."""
    first = max(steps // 10, 1)
    for index in range(steps):
        if index == first:
            wait(device)
            begun = time.perf_counter()
        step()
    wait(device)
    return round(batch * (steps - first) / (time.perf_counter() - begun), 1)


def wait(device: torch.device) -> None:
    """Wait until a GPU is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
