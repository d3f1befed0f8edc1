"""Shared fixtures: small folders of images, made on the spot."""

import gc
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

# What is tested is small: a second thread costs more than it brings, above all on a busy machine.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start
os.environ["RANDHEAD_CACHE"] = ""  # no decoded images are kept: no test depends on what another one has read


def pytest_collection_finish() -> None:
    """Garbage is collected less often, and not among what the imports have made: a seventh of the time of the tests."""
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture(scope="session", autouse=True)
def narrow() -> Iterator[None]:
    """A small_resnet of a few thousand parameters: what is tested does not depend on their number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("randhead.backbones.small_resnet.WIDTHS", (8, 16, 32))
        yield


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """Files that need not survive a power cut: to wait for the disk takes 5 ms per file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session")
def study_runs(tmp_path_factory) -> Path:
    from trained import study  # what needs no runs need not wait for its imports

    return study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def root(study_runs: Path, request) -> Path:
    """The runs of `trained.study`, trained once for all test files: a copy for each; `data` lies beside them."""
    return shutil.copytree(study_runs, study_runs.parent / request.module.__name__)


@pytest.fixture(scope="module")
def few_permutations() -> Iterator[None]:
    from trained import quick

    with quick():
        yield


@pytest.fixture
def no_pictures(monkeypatch, request) -> None:
    """PNG files of one pixel: drawing takes most of the time of a command.  The marker `pictures` keeps them whole."""
    if request.node.get_closest_marker("pictures"):
        return
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "png")
    draw = Figure.savefig

    def save(figure, target, *, format, **options):
        if format == "png":
            Path(target).write_bytes(buffer.getvalue())
        else:
            draw(figure, target, format=format, **options)

    monkeypatch.setattr(Figure, "savefig", save)


def write_images(folder: Path, counts: dict[str, int], *, size: int = 16, seed: int = 0) -> Path:
    """PNG files CLASS/00.png ..., `counts[CLASS]` of them, each of another random content."""
    random = np.random.default_rng([seed, *folder.name.encode()])
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:02}.png")
    return folder


@pytest.fixture
def make_images() -> Callable[..., Path]:
    return write_images


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """train/ with 10 images a class, test/ with 4, for three classes; 16 x 16 pixels."""
    folder = tmp_path / "animals"
    write_images(folder / "train", dict.fromkeys(("bird", "cat", "dog"), 10))
    write_images(folder / "test", dict.fromkeys(("bird", "cat", "dog"), 4))
    return folder


@pytest.fixture
def flat_folder(tmp_path: Path) -> Path:
    """Two classes in one folder, 20 and 30 images; 16 x 16 pixels."""
    return write_images(tmp_path / "flat", {"left": 20, "right": 30})
