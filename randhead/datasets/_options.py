"""The options of loading a dataset."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from randhead.config import MachineConfig, check_value
from randhead.datasets._opening import Rules
from randhead.errors import DataFileError, UsageError
from randhead.files import expanded

GIBIBYTE = 1 << 30
CHECKED = {  # settings of the configuration with the bounds of these options
    "data.image_size": "image_size",
    "data.validation": "validation",
    "data.split_seed": "split_seed",
    "data.train_images": "train_images",
    "machine.memory_budget_mb": "memory_budget",
    "machine.decoded_cache_mb": "decoded_cache",
    "machine.workers": "workers",
}

Progress = Callable[[int, int], None]  # called with (done, total)


def _default_workers() -> int:
    return min(8, os.cpu_count() or 1)


class NotDownloaded(DataFileError):
    """A dataset that is not in a folder to which nothing is downloaded."""


@dataclass(frozen=True)
class Options:
    """The options of loading a dataset.

    Attributes:
        root: folder of downloads, with torchvision's layout; ~ is the home directory.
        image_size: side of the images in pixels; None keeps the size of the dataset.
        validation: share of the training images that becomes the validation split; share of all images if the test
            split is drawn from them too.
        split_seed: seed of the splits that are drawn from the training images.
        train_images: number of training images that are used, stratified by class and drawn by `split_seed`; a
            validation split that is drawn becomes smaller by the same factor.  None for all.
        memory_budget: in bytes; image folders that are larger after decoding are streamed from disk.
        decoded_cache: in bytes: disk space in the user's cache folder for the decoded images of folders, which need not
            be decoded again then; 0 for none.  See `decoded_cache()`.
        workers: number of threads that decode.
        skip_bad_images: leave out unreadable images instead of raising DataError.
        max_megapixels: image files of more megapixels are refused.
        bit_depth: number of bits that the values of 16-bit images use, whose largest number becomes white; None for
            those that the brightest of these images uses.
        progress: called with (done, total): bytes while files are downloaded, then images.
        device: the device on which resident images and labels are stored.
        download: whether a dataset that is not in `root` is downloaded to it; otherwise `NotDownloaded` is raised.

    Raises:
        UsageError: if a value is out of bounds.
    """

    root: Path = Path("~/.cache/randhead")
    image_size: int | None = None
    validation: float = 0.1
    split_seed: int = 0
    train_images: int | None = None
    memory_budget: int = 2 * GIBIBYTE
    decoded_cache: int = 20 * GIBIBYTE
    workers: int = field(default_factory=_default_workers)
    skip_bad_images: bool = False
    max_megapixels: float = MachineConfig.max_megapixels
    bit_depth: int | None = None
    progress: Progress | None = None
    device: str | torch.device = "cpu"
    download: bool = True

    def __post_init__(self) -> None:
        for key, name in CHECKED.items():
            check_value(key, getattr(self, name), name)
        _ = self.rules  # which checks the others
        with contextlib.suppress(UsageError):  # without a home directory, an error of datasets that are downloaded
            object.__setattr__(self, "root", self.downloads())

    @property
    def rules(self) -> Rules:
        """How image files are read."""
        return Rules(self.bit_depth, self.max_megapixels)

    def downloads(self) -> Path:
        """The folder of downloads.  Raises UsageError if it is in a home directory that is unknown."""
        return expanded(self.root, "use `machine.data_root=PATH`, or set the environment variable HOME")

    def check_download(self, name: str) -> None:
        """Raise NotDownloaded unless a dataset may be downloaded."""
        if not self.download:
            hint = "give the images as `data`, or download the dataset with `randhead train`"
            raise NotDownloaded(f"{name} is not in {self.root}", hint=hint)
