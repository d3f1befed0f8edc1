"""Writing corrupted images to files, in the layouts of the released sets, which `released` reads.

Images of 32 px are written to NAME.npy and labels.npy as in CIFAR-10-C, others to NAME/SEVERITY/CLASS/ID.png, without
loss.  corruptions.json records the settings: the same call resumes in its folder, a different call is refused.  While
images are encoded and written, a thread makes the next.

Readers of the layout of CIFAR-10-C take the first images of the arrays, so images that are sorted by class are written
in a mixed order.  It is in corruptions.json, by which `released` restores the order of the split.
"""

import functools
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from randhead import corruptions
from randhead.ambient import indices
from randhead.datasets import ahead
from randhead.errors import UsageError
from randhead.files import atomic_write, sweep, write_json
from randhead.robustness.images import CorruptedImages, mixed_order
from randhead.robustness.layouts import MARKER, ORDER
from randhead.robustness.settings import CLEAN, Grid

CIFAR_SIDE = 32
WORKERS = 8


def write(folder: Path, source: CorruptedImages, grid: Grid, class_names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Write the corruptions of a grid, without the clean images.

    Args:
        folder: a new or empty folder, or one that was started by the same call.
        source: the images.
        grid: corruptions and severities.
        class_names: names of the classes.

    Returns:
        An iterator that writes the files, and yields (done, total) after each corruption.

    Raises:
        UsageError: for a folder with other content, and for 32 px images without all five severities.
    """
    grid = {name: tuple(severities) for name, severities in grid.items() if name != CLEAN}
    arrays = not _written_to_folders(source)
    if arrays and any(severities != corruptions.SEVERITIES for severities in grid.values()):
        raise UsageError("the layout of CIFAR-10-C needs all five severities", hint="leave out `severities`")
    cells = {name: list(severities) for name, severities in grid.items()}
    order = order_of_arrays(source)
    how = {} if order is None else {ORDER: order.tolist()}
    if not arrays:
        _check_folder_names(class_names)
    _claim(Path(folder), {"cells": cells, "classes": list(class_names), **source.identity(), **how})
    return (_write_arrays if arrays else _write_folders)(Path(folder), source, grid, class_names)


def _check_folder_names(class_names: Sequence[str]) -> None:
    """Raise UsageError for a class whose name is a path: the file of a run may come from anybody."""
    for name in class_names:
        if name in ("", ".", "..") or "/" in name or os.sep in name:
            raise UsageError(f"class {name!r} cannot be a folder", hint="images of this run cannot be saved")


def order_of_arrays(source: CorruptedImages) -> Tensor | None:
    """The order (N,) in which images are written to arrays; None for that of the split, which is mixed already."""
    labels = source.labels.cpu()
    if len(labels) < 2 or _written_to_folders(source):
        return None
    shares = labels.bincount().double() / len(labels)
    changes = (labels[1:] != labels[:-1]).double().mean()  # of the class, from an image to the next
    return None if changes >= (1 - shares.square().sum()) / 2 else mixed_order(labels, seed=source.settings.seed)


def described_order(source: CorruptedImages) -> str:
    """The order of the written images, in words."""
    if _written_to_folders(source):
        return "images are written to folders by class"
    if order_of_arrays(source) is None:
        return "images are written in the order of the split"
    return f"images are written in an order that mixes the classes (seed {source.settings.seed})"


def _written_to_folders(source: CorruptedImages) -> bool:
    return source.split.images.shape[1:] != (CIFAR_SIDE, CIFAR_SIDE)


def _claim(folder: Path, content: dict[str, object]) -> None:
    marker = folder / MARKER
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", hint="give a new folder")
    sweep(folder, lambda name: name == MARKER or name.endswith(".npy"))
    if folder.is_dir() and any(folder.iterdir()):
        try:
            same = json.loads(marker.read_text(encoding="utf-8")) == content
        except (OSError, ValueError):
            same = False
        if not same:
            raise UsageError(f"{folder} has other content than these images", hint="give a new folder")
    write_json(marker, content)


def _write_arrays(
    folder: Path, source: CorruptedImages, grid: Grid, class_names: Sequence[str]
) -> Iterator[tuple[int, int]]:
    order = order_of_arrays(source)
    order = indices(len(source.labels)) if order is None else order
    labels = source.labels.cpu()[order].repeat(len(corruptions.SEVERITIES)).numpy()
    atomic_write(folder / "labels.npy", lambda fragment: _save(fragment, labels))
    rows = torch.argsort(order).numpy()  # of each image in its block of an array
    starts = range(0, len(source.labels), source.batch)
    parts = [_Part(name, severities, start) for name, severities in grid.items() for start in starts]
    with closing(ahead(functools.partial(_corrupted, source), parts, workers=1, most=1)) as corrupted:
        for done, name in enumerate(grid, start=1):
            write_rows = functools.partial(_fill, parts=itertools.islice(corrupted, len(starts)), rows=rows)
            atomic_write(folder / f"{name}.npy", write_rows)
            yield done, len(grid)


def _save(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array)


class _Part(NamedTuple):
    """A batch of images, from `start` on, at each severity of a corruption."""

    name: str
    severities: Sequence[int]
    start: int


def _corrupted(source: CorruptedImages, part: _Part) -> list[tuple[int, int, int, Tensor]]:
    """Corrupt a part: (severity, start, stop, images (B, 3, H, W) on the CPU) for each severity."""
    stop = min(part.start + source.batch, len(source.labels))
    made = source.cells(part.name, part.severities, part.start, stop)
    return [(severity, part.start, stop, images.cpu()) for severity, images in made]


def _fill(path: Path, parts: Iterator[list[tuple[int, int, int, Tensor]]], rows: np.ndarray) -> None:
    n, side = len(rows), CIFAR_SIDE
    shape = (len(corruptions.SEVERITIES) * n, side, side, 3)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    for part in parts:
        for severity, start, stop, images in part:
            array[(severity - 1) * n + rows[start:stop]] = _channels_last(images)
    array.flush()


def _channels_last(images: Tensor) -> np.ndarray:
    return images.permute(0, 2, 3, 1).numpy()


def _write_folders(
    folder: Path, source: CorruptedImages, grid: Grid, class_names: Sequence[str]
) -> Iterator[tuple[int, int]]:
    labels, n = source.labels.tolist(), len(source.labels)
    blocks = range(0, n, source.block)
    for name, severities in grid.items():
        for severity in severities:
            for class_name in class_names:
                class_folder = folder / name / str(severity) / class_name
                class_folder.mkdir(parents=True, exist_ok=True)
                sweep(class_folder, lambda name: name.endswith(".png"))
    starts = [range(block, min(n, block + source.block), source.batch) for block in blocks]
    parts = [_Part(name, grid[name], start) for block in starts for name in grid for start in block]
    done = 0
    with (
        ThreadPoolExecutor(WORKERS) as pool,
        closing(ahead(functools.partial(_corrupted, source), parts, workers=1, most=1)) as corrupted,
    ):
        for block in starts:
            for name in grid:
                for part in itertools.islice(corrupted, len(block)):
                    for severity, start, stop, images in part:
                        root = folder / name / str(severity)
                        ids = source.ids[start:stop].tolist()
                        named = zip(labels[start:stop], ids, strict=True)
                        paths = [root / class_names[label] / f"{i:08}.png" for label, i in named]
                        _save_images(pool, paths, images)
                done += 1
                yield done, len(grid) * len(blocks)


def _save_images(pool: ThreadPoolExecutor, paths: list[Path], images: Tensor) -> None:
    list(pool.map(_save_image, paths, images))


def _save_image(path: Path, image: Tensor) -> None:
    atomic_write(path, lambda fragment: Image.fromarray(image.permute(1, 2, 0).numpy()).save(fragment, format="PNG"))
