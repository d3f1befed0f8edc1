"""Datasets of torchvision: randhead downloads the files, torchvision checks, unpacks and reads them.

Some of these datasets are pickles.  torchvision unpickles a file only if it has the published MD5 sum.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from randhead.ambient import as_tensor, indices
from randhead.datasets import Dataset, Options
from randhead.datasets._build import build_arrays
from randhead.datasets._download import Source, cannot_write, fetch
from randhead.errors import DataError

DAMAGED = (RuntimeError, ValueError, AssertionError, FileNotFoundError)


def load_torchvision(
    name: str,
    open_split: Callable[..., Any],
    sources: Sequence[Source],
    options: Options,
    *,
    class_names: Sequence[str] | None = None,
) -> Dataset:
    """Build a Dataset from two torchvision datasets: open_split(root, split, download=...) for train and test.

    By default the class names are those of the archive.  Raises DataError if the files are damaged, or if they are
    missing and cannot be downloaded.
    """
    train, test = _open_both(name, open_split, sources, options)
    pixels = torch.cat([_pixels(train.data), _pixels(test.data)])
    labels = torch.cat([_labels(train), _labels(test)])
    train_rows, test_rows = indices(len(labels)).split([len(train), len(test)])
    names = tuple(class_names or train.classes)
    return build_arrays(name, names, pixels, labels, {"train": train_rows, "test": test_rows}, options)


def by_train_flag(dataset: Callable[..., Any]) -> Callable[..., Any]:
    """An `open_split` for torchvision's datasets that take train=True or False instead of the name of a split."""
    return lambda root, split, download: dataset(root, train=split == "train", download=download)


def _open_both(name: str, open_split: Callable[..., Any], sources: Sequence[Source], options: Options) -> list[Any]:
    root = options.downloads()

    def both(download: bool) -> list[Any]:
        with warnings.catch_warnings():
            # NumPy and tarfile warn about the way in which torchvision unpickles and unpacks; users cannot change it.
            warnings.simplefilter("ignore")
            return [open_split(root, split, download=download) for split in ("train", "test")]

    try:
        return both(download=False)
    except DAMAGED:  # or missing, or not unpacked: torchvision does not distinguish these
        options.check_download(name)
        fetch(sources, root, options.progress)
    try:
        return both(download=True)  # finds the downloaded files, checks them again, and unpacks them
    except DAMAGED as error:
        hint = "delete them, and run again"
        raise DataError(f"{name}: the files under {root} are damaged ({error})", hint=hint) from error
    except OSError as error:
        raise cannot_write(root, error) from error


def _pixels(data: np.ndarray | Tensor) -> Tensor:
    """(N, H, W), (N, H, W, 3) or (N, 3, H, W) uint8 -> (N, 3, H, W)."""
    data = as_tensor(data)
    if data.ndim == 3:
        return data[:, None].expand(-1, 3, -1, -1)
    return data if data.shape[1] == 3 else data.permute(0, 3, 1, 2)


def _labels(dataset: Any) -> Tensor:
    labels = dataset.targets if hasattr(dataset, "targets") else dataset.labels
    return as_tensor(labels).to(torch.int64)
