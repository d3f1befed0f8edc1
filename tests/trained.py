"""Runs for the tests of what is done with trained runs: a few, small, trained in a moment; and the command line."""

import contextlib

import pytest
from tiny import config, image_folder, main

from randhead import datasets
from randhead.analyses import similarity
from randhead.runs import Run
from randhead.train import fit_events

PERMUTATIONS = 19  # of Mantel's test, for which 999 take most of a test's time
NAMES = ("cat", "dog", "eel", "fox")


@contextlib.contextmanager
def quick():
    """Few permutations: what is tested does not depend on their number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(similarity.measure.__kwdefaults__, "permutations", PERMUTATIONS)
        yield


def train(root, name, data, **changes):
    """A run folder in `root`, trained for two epochs on a folder of images."""
    settings = config(data__name=str(data), data__validation=0.2, **changes)
    list(fit_events(settings, datasets.from_config(settings), Run(root / name)))
    return root / name


def study(root):
    """Fixed and learned class vectors, two seeds each, on the images of root/data: root/runs/fixed0, learned0, ..."""
    data = image_folder(root / "data", classes=NAMES, images=20)
    for seed in (0, 1):
        for name, trainable in (("fixed", False), ("learned", True)):
            train(root / "runs", f"{name}{seed}", data, head__trainable=trainable, train__seed=seed)
    return root / "runs"


def command(capsys, *words):
    """Run the command line: the exit code, what went to stdout, what went to stderr."""
    capsys.readouterr()
    return main(*words), *capsys.readouterr()
