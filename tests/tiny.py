"""What several test files share: a data set, a configuration and an image folder on which training takes a moment."""

import contextlib
import functools
import json
import sys

import pytest
import torch
import typer
from PIL import Image

from randhead import cli, datasets
from randhead.config import parse
from randhead.datasets import Dataset, Split, TensorImages
from randhead.runs import Run
from randhead.train import fit_events
from randhead.train.events import StepDone

SETTINGS = {
    "train.epochs": 2,
    "train.batch_size": 16,
    "train.precision": "fp32",
    "machine.device": "cpu",
    "optim.lr": 0.05,
}


def config(**changes):
    """A configuration; sections are separated by two underscores: optim__lr=0.1."""
    return parse.build({**SETTINGS, **{key.replace("__", "."): value for key, value in changes.items()}})


def digits(train=40, val=20, test=20):
    """A few of the digits as a data set of their own."""
    whole = datasets.load("digits")
    counts, splits = {"train": train, "val": val, "test": test}, {}
    for name, split in whole.splits.items():
        rows = torch.arange(counts[name])
        pixels = next(split.images.batches(rows, counts[name]))
        splits[name] = Split(TensorImages(pixels, rows), split.labels[: counts[name]])
    return Dataset("digits", whole.class_names, splits, 8, (), False)


def fit(folder, configuration, dataset, *, steps=None, **options):
    """All events of a training in a folder, which is stopped after a number of steps if one is given."""
    found = []
    if steps is not None:
        options["should_stop"] = lambda: sum(isinstance(event, StepDone) for event in found) >= steps
    for event in fit_events(configuration, dataset, Run(folder), **options):
        found.append(event)
    return found


@contextlib.contextmanager
def default_dtype(dtype):
    """A context in which torch makes tensors of another dtype unless it is given one."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


COMMANDS = functools.cache(typer.main.get_command)  # made once, not for every command


def main(*words):
    """Run the command line in this process: its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", COMMANDS)
        patch.setattr(sys, "argv", ["randhead", *map(str, words)])
        patch.setattr("randhead.cli.signals.leave", sys.exit)  # a command that is interrupted would end this process
        try:
            cli.main()
        except SystemExit as ended:
            return ended.code or 0
    return 0


def log(folder):
    """The lines of metrics.jsonl, but for the time they took."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def image_folder(folder, classes=("cat", "dog", "eel"), images=10, size=8, split=None):
    """PNG files of plain colours with a gradient, one folder a class; `split` puts a folder in between.

    All images are different, also those of two splits.
    """
    blue = 10 + 7 * len(split or "")
    for label, name in enumerate(classes):
        place = folder / split / name if split else folder / name
        place.mkdir(parents=True, exist_ok=True)
        for i in range(images):
            ramp = torch.arange(size * size * 3, dtype=torch.uint8).reshape(size, size, 3) // 2
            pixels = ramp + torch.tensor([label * 60, 20 * i % 100, blue + i], dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(place / f"{i}.png")
    return folder


def tree(folder):
    """Every file below a folder with its content: equal before and after where nothing was touched."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
