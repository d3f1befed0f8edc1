"""Readers of the two layouts of released sets: arrays as in CIFAR-10-C, folders as in ImageNet-C."""

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from randhead import corruptions
from randhead.arguments import composed
from randhead.corruptions import SEVERITIES
from randhead.datasets import image_files
from randhead.errors import DataError
from randhead.files import sha256

# Larger images up to this ratio are cropped: 256 px to 224, the usual central crop.  Beyond, it is another set.
LARGEST_CROP = 256 / 224
WORKERS = 8
LAYOUT = "a folder with labels.npy and NAME.npy files, or with folders NAME/SEVERITY/CLASS of images"

Read = Callable[[str, int, Tensor], Tensor]
"""Corruption, severity and indices (B,) -> uint8 images (B, 3, H, W)."""


class Content(NamedTuple):
    """The content of a folder: see `ReleasedSet`."""

    labels: Tensor
    grid: dict[str, tuple[int, ...]]
    notes: tuple[str, ...]
    key: dict[str, object]
    read: Read


def open_arrays(folder: Path, class_names: Sequence[str], image_size: int) -> Content:
    """Read the layout of CIFAR-10-C.  Raises DataError for arrays that do not fit."""
    arrays = {
        name: _mapped(folder / f"{name}.npy") for name in corruptions.names() if (folder / f"{name}.npy").is_file()
    }
    if not arrays:
        raise DataError(f"{folder}: no NAME.npy of a corruption", hint=f"give {LAYOUT}")
    first = next(iter(arrays.values()))
    for name, array in arrays.items():
        _check_array(folder / f"{name}.npy", array, first, image_size)
    n = len(first) // len(SEVERITIES)
    labels = _labels(folder / "labels.npy", n, len(class_names))

    def read(name: str, severity: int, ids: Tensor) -> Tensor:
        images = arrays[name][(severity - 1) * n + ids.numpy()]
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    files = [folder / f"{name}.npy" for name in arrays]
    grid: dict[str, tuple[int, ...]] = dict.fromkeys(arrays, SEVERITIES)
    return Content(labels, grid, (), {"set": [_state(file) for file in files]}, read)


def _check_array(file: Path, array: np.ndarray, first: np.ndarray, image_size: int) -> None:
    if (
        array.ndim != 4
        or array.shape[3] != 3
        or array.dtype != np.uint8
        or len(array) % len(SEVERITIES)
        or not len(array)
    ):
        raise DataError(
            f"{file}: {array.dtype} {array.shape} is not uint8 (5 N, H, W, 3)", hint="download the set again"
        )
    if array.shape[1:3] != (image_size, image_size):
        raise _other_size(file, array.shape[2], array.shape[1], image_size)
    if len(array) != len(first):
        raise DataError(f"{file}: {len(array)} images, the others have {len(first)}", hint="download the set again")


def _labels(file: Path, n: int, num_classes: int) -> Tensor:
    """The labels of images, (N,); labels.npy has them once, or repeated for each severity."""
    labels = _mapped(file)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) not in (n, n * len(SEVERITIES)):
        raise DataError(
            f"{file}: {labels.dtype} {labels.shape} does not fit {n} images at {len(SEVERITIES)} severities",
            hint="labels are integers, one per image, or one per image and severity",
        )
    blocks = torch.from_numpy(labels.astype(np.int64)).view(-1, n)
    if not (blocks == blocks[0]).all():
        raise DataError(f"{file}: the severities have different labels", hint="download the set again")
    low, high = int(blocks.min()), int(blocks.max())
    if low < 0 or high >= num_classes:
        raise DataError(
            f"{file}: labels {low}..{high} do not fit a run of {num_classes} classes",
            hint="CIFAR-10-C needs a run on cifar10, CIFAR-100-C one on cifar100",
        )
    return blocks[0].clone()


def _mapped(file: Path) -> np.ndarray:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file}: not a readable array ({error})", hint="download the set again") from None


def open_folders(folder: Path, class_names: Sequence[str], image_size: int) -> Content:
    """Read the layout of ImageNet-C.  Raises DataError for folders that do not fit."""
    roots = {name: root for name in corruptions.names() if (root := _root(folder, name)) is not None}
    if not roots:
        raise DataError(f"{folder}: no folder of a corruption", hint=f"give {LAYOUT}")
    grid, files, notes = _common_files(folder, roots, class_names)
    name, (severity, *_) = next(iter(grid.items()))
    _cropped(roots[name] / str(severity) / files[0], size=image_size)  # a wrong size is an error now, not hours later
    index = {name: i for i, name in enumerate(class_names)}
    labels = torch.tensor([index[composed(file.partition("/")[0])] for file in files], dtype=torch.int64, device="cpu")
    pool = ThreadPoolExecutor(WORKERS)

    def read(name: str, severity: int, ids: Tensor) -> Tensor:
        paths = [roots[name] / str(severity) / files[i] for i in ids.tolist()]
        return torch.from_numpy(np.stack(list(pool.map(functools.partial(_cropped, size=image_size), paths))))

    key: dict[str, object] = {
        "set": [str(folder.resolve()), sha256("\n".join(files).encode()), [_state(root) for root in roots.values()]]
    }
    return Content(labels, grid, tuple(notes), key, read)


def _common_files(
    folder: Path, roots: Mapping[str, Path], class_names: Sequence[str]
) -> tuple[dict[str, tuple[int, ...]], list[str], list[str]]:
    """The corruptions that have the same files at each severity, with their severities; these files; and notes."""
    grid: dict[str, tuple[int, ...]] = {}
    files: list[str] = []
    notes: list[str] = []
    for name, root in roots.items():
        severities = tuple(s for s in SEVERITIES if (root / str(s)).is_dir())
        if not severities:
            raise DataError(f"{root}: no folder of a severity, 1 to 5", hint=f"give {LAYOUT}")
        listings = [_listing(root / str(severity), class_names) for severity in severities]
        other_classes = max(count for _, count in listings)
        if other_classes:
            count = len(class_names) + other_classes
            notes.append(f"{name} holds {count} classes; only the run's {len(class_names)} are read")
        files = files or (listings[0][0] if not other_classes else [])
        if not files or any(listed != files for listed, _ in listings):
            notes.append(f"{name} is left out: its files are not those of the other corruptions")
        else:
            grid[name] = severities
    if not grid:
        raise DataError(f"{folder}: no corruption has severities 1 to 5 of the same files", hint=f"give {LAYOUT}")
    return grid, files, notes


def _root(folder: Path, name: str) -> Path | None:
    """The folder of a corruption: directly in the set, or in the folder of a group, as in the archives."""
    found = [path for path in (folder / name, *sorted(folder.glob(f"*/{name}"))) if path.is_dir()]
    return found[0] if found else None


def _listing(folder: Path, class_names: Sequence[str]) -> tuple[list[str], int]:
    """CLASS/FILE of every image of the run's classes, sorted, and the number of other classes."""
    folders = [entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    there = {composed(name): name for name in folders}
    missing = sorted(set(class_names) - set(there))
    if missing:
        named = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise DataError(
            f"{folder}: {len(missing)} classes of the run are missing ({named})",
            hint="class folders are matched by name with the classes of the run",
        )
    found = (file for name in sorted(class_names) for file in image_files(folder / there[name]))
    files = [file.relative_to(folder).as_posix() for file in found]
    if not files:
        raise DataError(f"{folder}: no images", hint="unpack the whole archive of the set")
    return files, len(there) - len(class_names)


def _cropped(path: Path, *, size: int) -> np.ndarray:
    """The central square of an image, never resized: (3, size, size) uint8."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            left, top = (width - size) // 2, (height - size) // 2
            pixels = np.asarray(image.convert("RGB").crop((left, top, left + size, top + size)))
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{path}: not a readable image ({error})", hint="unpack the set again") from None
    if min(width, height) < size or max(width, height) > LARGEST_CROP * size:
        raise _other_size(path, width, height, size)
    return pixels.transpose(2, 0, 1)


def _other_size(file: Path, width: int, height: int, size: int) -> DataError:
    return DataError(
        f"{file}: {width} x {height} pixels do not fit a run on images of {size} px",
        hint="use the set of the run's size, or train a run at the size of the set; released images are never resized",
    )


def _state(path: Path) -> list[str | int]:
    state = path.stat()
    return [str(path.resolve()), state.st_size, state.st_mtime_ns]
