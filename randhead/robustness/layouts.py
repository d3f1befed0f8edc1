"""Readers of the two layouts of released sets: arrays as in CIFAR-10-C, folders as in ImageNet-C."""

import functools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from randhead import corruptions
from randhead.ambient import indices
from randhead.arguments import composed
from randhead.corruptions import SEVERITIES
from randhead.datasets import image_files
from randhead.errors import DataError, DataFileError
from randhead.files import sha256
from randhead.tables import few

# Larger images up to this ratio are cropped: 256 px to 224, the usual central crop.  Beyond, it is another set.
LARGEST_CROP = 256 / 224
WORKERS = 8
MARKER = "corruptions.json"  # what `export` records
ORDER = "order"  # its entry for a mixed order: indices (N,) of the images, in the order of the arrays
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
    compressed: bool


def open_arrays(
    folder: Path, class_names: Sequence[str], image_size: int, names: Sequence[str] | None = None
) -> Content:
    """Read the layout of CIFAR-10-C.  Raises DataError for arrays that do not fit."""
    there = {name: file for name in corruptions.names() if (file := folder / f"{name}.npy").is_file()}
    files = _requested(folder, there, names, "NAME.npy")
    arrays = {name: _checked_array(file, image_size) for name, file in files.items()}
    labels = _labels(folder / "labels.npy", {files[name]: len(arrays[name]) for name in files}, len(class_names))
    n = len(labels)
    rows = _rows(folder, n)

    def read(name: str, severity: int, ids: Tensor) -> Tensor:
        images = arrays[name][(severity - 1) * n + rows[ids].numpy()]
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    grid: dict[str, tuple[int, ...]] = dict.fromkeys(arrays, SEVERITIES)
    return Content(labels[rows], grid, (), {"set": [_state(file) for file in there.values()]}, read, compressed=False)


def _requested(folder: Path, there: dict[str, Path], names: Sequence[str] | None, what: str) -> dict[str, Path]:
    """The corruptions of a set that are requested."""
    found = {name: path for name, path in there.items() if names is None or name in names}
    if not there:
        inside = [path.parent for path in sorted(folder.glob("*/labels.npy"))]
        hint = f"did you mean {inside[0]}?" if inside else f"give {LAYOUT}"
        raise DataError(f"{folder}: no {what} of a corruption", hint=hint)
    if not found:
        raise DataError(f"{folder.name} has none of the requested corruptions", hint=f"it has: {', '.join(there)}")
    return found


def _checked_array(file: Path, image_size: int) -> np.ndarray:
    """An array of uint8 (5 N, H, W, 3), which stays on disk until it is read."""
    array = _mapped(file)
    shape = array.shape
    if array.ndim != 4 or shape[3] != 3 or array.dtype != np.uint8 or len(array) % len(SEVERITIES) or not len(array):
        hint = "make it or download it again, or leave it out of the corruptions"
        if array.ndim == 4 and shape[1] == 3 != shape[3]:
            hint = "channels come last: `np.moveaxis(array, 1, 3)`"
        elif array.dtype.kind == "f":
            hint = "for values in 0..1, as the corruptions truncate: `(array * 255).astype(np.uint8)`"
        elif array.ndim == 3:
            hint = "grey images are repeated: `np.repeat(array[..., None], 3, axis=3)`"
        raise DataError(f"{file}: {array.dtype} {shape} is not uint8 (5 N, H, W, 3)", hint=hint)
    if shape[1:3] != (image_size, image_size):
        raise _other_size(file, shape[2], shape[1], image_size)
    return array


def _labels(file: Path, lengths: Mapping[Path, int], num_classes: int) -> Tensor:
    """The labels of images, (N,); labels.npy has them once, or repeated for each severity.

    Args:
        file: labels.npy.
        lengths: number of images of each array, which is 5 N.
        num_classes: of the run.
    """
    labels, times = _mapped(file), len(SEVERITIES)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        hint = "labels are integers (N,) or (5 N,): one per image, or one per image and severity"
        raise DataError(f"{file}: {labels.dtype} {labels.shape} is no array of labels", hint=hint)
    values = torch.from_numpy(labels.astype(np.int64))
    sizes = [len(values), *([len(values) // times] if len(values) % times == 0 else [])]
    n = max(sizes, key=lambda size: sum(length == times * size for length in lengths.values()))
    wrong = [array for array, length in lengths.items() if length != times * n]
    if len(wrong) == len(lengths):
        images = next(iter(lengths.values())) // times
        hint = f"{wrong[0].name} has {images} images at {times} severities; labels are one per image, or repeated"
        raise DataError(f"{file}: {len(values)} labels do not fit {images} images at {times} severities", hint=hint)
    if wrong:
        hint = "make or download this array again, or leave it out of the corruptions"
        raise DataError(f"{wrong[0]}: {lengths[wrong[0]]} images, but labels.npy has labels for {times * n}", hint=hint)
    blocks = values.view(-1, n)
    if not (blocks == blocks[0]).all():
        hint = (
            f"is this one severity only?  A set has all images at severity 1, then at 2 to {times}; else get it again"
        )
        raise DataError(f"{file}: the severities have different labels", hint=hint)
    low, high = int(blocks.min()), int(blocks.max())
    if low < 0 or high >= num_classes:
        raise DataError(
            f"{file}: labels {low}..{high} do not fit a run of {num_classes} classes",
            hint="CIFAR-10-C needs a run on cifar10, CIFAR-100-C one on cifar100",
        )
    return blocks[0].clone()


def _rows(folder: Path, n: int) -> Tensor:
    """The rows of the arrays in the order of the split: (N,) int64.  Only `export` mixes them."""
    try:
        order = torch.tensor(json.loads((folder / MARKER).read_text("utf-8"))[ORDER], dtype=torch.int64, device="cpu")
    except (OSError, ValueError, LookupError, TypeError, RuntimeError):
        return indices(n)
    return torch.argsort(order) if torch.equal(order.sort().values, indices(n)) else indices(n)


def _mapped(file: Path) -> np.ndarray:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except PermissionError as error:
        raise DataFileError(f"{file}: {error.strerror}", hint="allow reading it, or leave it out") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file}: not a readable array ({error})", hint="download the set again") from None


def open_folders(
    folder: Path, class_names: Sequence[str], image_size: int, names: Sequence[str] | None = None
) -> Content:
    """Read the layout of ImageNet-C.  Raises DataError for folders that do not fit."""
    there = {name: root for name in corruptions.names() if (root := _root(folder, name)) is not None}
    roots = _requested(folder, there, names, "folder")
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
        "set": [str(folder.resolve()), sha256("\n".join(files).encode()), [_state(root) for root in there.values()]]
    }
    compressed = Path(files[0]).suffix.lower() in (".jpeg", ".jpg")
    return Content(labels, grid, tuple(notes), key, read, compressed)


def _common_files(
    folder: Path, roots: Mapping[str, Path], class_names: Sequence[str]
) -> tuple[dict[str, tuple[int, ...]], list[str], list[str]]:
    """The corruptions that have the same files at each severity, with their severities; these files; and notes.

    The files of most corruptions and severities count, so that an incomplete folder is the one that is left out.
    """
    listings: dict[str, list[str]] = {}  # by their hash
    found: dict[str, dict[int, str]] = {}  # the hash, by corruption and severity
    others: dict[str, int] = {}  # classes that are not the run's, by corruption
    for name, root in roots.items():
        severities = [s for s in SEVERITIES if (root / str(s)).is_dir()]
        if not severities:
            raise DataError(f"{root}: no folder of a severity, 1 to 5", hint=f"give {LAYOUT}")
        for severity in severities:
            files, others[name] = _listing(root / str(severity), class_names)
            digest = sha256("\n".join(files).encode())
            listings.setdefault(digest, files)
            found.setdefault(name, {})[severity] = digest
    common, times = Counter(digest for row in found.values() for digest in row.values()).most_common(1)[0]
    grid = {name: tuple(row) for name, row in found.items() if set(row.values()) == {common}}
    if not grid or times == 1 < sum(map(len, found.values())):
        raise DataError(f"{folder}: no corruption has severities 1 to 5 of the same files", hint=f"give {LAYOUT}")
    notes, files = list(_other_classes(others, len(class_names))), listings[common]
    for name, row in found.items():
        for severity, digest in [(s, digest) for s, digest in row.items() if digest != common][:1]:
            shared = len(set(files) & set(listings[digest]))
            notes.append(
                f"{name} is left out: its files are not those of the other corruptions "
                f"({roots[name].name}/{severity} has {shared} of {len(files)})"
            )
    return grid, files, notes


def _other_classes(others: Mapping[str, int], num_classes: int) -> Iterator[str]:
    """Notes on folders with more classes than the run's."""
    if len(set(others.values())) == 1 < len(others):
        others = {"each corruption": next(iter(others.values()))}
    for name, more in others.items():
        if more:
            yield f"{name} holds {num_classes + more} classes; only the run's {num_classes} are read"


def _root(folder: Path, name: str) -> Path | None:
    """The folder of a corruption: directly in the set, or in the folder of a group, as in the archives."""
    found = [path for path in (folder / name, *sorted(folder.glob(f"*/{name}"))) if path.is_dir()]
    return found[0] if found else None


def _listing(folder: Path, class_names: Sequence[str]) -> tuple[list[str], int]:
    """CLASS/FILE of every image of the run's classes, sorted, and the number of other classes."""
    try:
        folders = [entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    except OSError as error:
        raise DataFileError(f"{folder}: {error.strerror}", hint="allow reading it, or leave it out") from error
    there = {composed(name): name for name in folders}
    missing = sorted(set(class_names) - set(there))
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} classes of the run are missing ({few(missing, 5)})",
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
