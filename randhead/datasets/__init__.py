"""Data sets: one file, one set, one verb: `load(options) -> Dataset`.

Every set comes as square RGB images of 8 bits, in three splits: train, val and test.  The test split is the published
one; where a set has none, it is cut from the images by `split_seed`, stratified by class, as validation always is.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from randhead import registry
from randhead.config import Config, check_value, data_source
from randhead.datasets import _decode
from randhead.datasets._dataset import Dataset, Split
from randhead.datasets._fingerprint import fingerprint
from randhead.datasets._folders import image_files
from randhead.datasets._hold_out import Subset, divide_classes
from randhead.datasets._images import FileImages, Images, TensorImages, channel_statistics
from randhead.datasets._ranks import ranks_in_class

__all__ = [
    "Dataset",
    "FileImages",
    "Images",
    "Options",
    "Split",
    "Subset",
    "TensorImages",
    "channel_statistics",
    "divide_classes",
    "fingerprint",
    "from_config",
    "image_files",
    "load",
    "ranks_in_class",
    "read_image",
]

GIBIBYTE = 1 << 30
CHECKED = {  # settings of the configuration with the bounds of these options
    "data.image_size": "image_size",
    "data.validation": "validation",
    "data.split_seed": "split_seed",
    "machine.memory_budget_mb": "memory_budget",
    "machine.workers": "workers",
}


def _download_folder() -> Path:
    return Path.home() / ".cache" / "randhead"


def _default_workers() -> int:
    return min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class Options:
    """How to load a set.  Raises UsageError for values out of bounds.

    `validation` is a share of the training images, or of all images where the test split is cut from them too.
    """

    root: Path = field(default_factory=_download_folder)  # where downloads live, laid out as torchvision does
    image_size: int | None = None  # pixels; None keeps the set's own size
    validation: float = 0.1
    split_seed: int = 0
    memory_budget: int = 2 * GIBIBYTE  # bytes; image folders that are larger when decoded are streamed from disk
    workers: int = field(default_factory=_default_workers)  # threads that decode
    skip_bad_images: bool = False
    progress: Callable[[int, int], None] | None = None  # called with (done, total): bytes, then images
    device: str | torch.device = "cpu"

    def __post_init__(self) -> None:
        for key, name in CHECKED.items():
            check_value(key, getattr(self, name), name)


def load(name_or_folder: str | Path, **options) -> Dataset:
    """The set of that name, or the images of a folder; keyword arguments are the fields of `Options`.

    A name of the family wins over a folder of the same name: write ./NAME for the folder.  Raises UsageError for an
    unknown name or option value, DataError for images that are missing or cannot be used.
    """
    options = Options(**options)
    found = data_source.find(name_or_folder)
    if isinstance(found, Path):
        return registry.load("datasets", "image_folder").load(options, found)
    return registry.load("datasets", found).load(options)


def from_config(
    config: Config,
    data: str | Path | None = None,
    *,
    device: str | torch.device = "cpu",
    image_size: int | None = None,
    held_out: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """The images of a configuration, or other images that are split and read in the same way.

    Args:
        config: its sections `data` and `machine` are used.
        data: name of a dataset, a folder of images, or a Python file, which is executed; None for that of the
            configuration.
        device: where resident images and labels are kept.
        image_size: side of the images in pixels; None for that of the configuration.
        held_out: of the configuration's own images, those of `data.hold_out_classes` instead of the others.
        progress: called with (done, total) while images are read.

    Raises:
        DataError: if images are missing or cannot be used.
    """
    options, machine = config.data, config.machine
    name = registry.use("datasets", str(data)) if data and registry.is_file(str(data)) else data or options.name
    dataset = load(
        name,
        root=Path(machine.data_root).expanduser(),
        image_size=image_size or options.image_size,
        validation=options.validation,
        split_seed=options.split_seed,
        memory_budget=machine.memory_budget_mb << 20,
        workers=machine.workers,
        skip_bad_images=options.skip_bad_images,
        progress=progress,
        device=device,
    )
    if data or not options.hold_out_classes:
        return dataset
    kept, left_out = divide_classes(dataset, options.hold_out_classes, seed=options.split_seed)
    return left_out if held_out else kept


def read_image(path: Path, size: int) -> Tensor:
    """One image file as training sees it: (3, size, size) uint8.  Raises DataError where it cannot be read."""
    _decode.ignore_pillow_warnings()
    return torch.from_numpy(np.array(_decode.decode(Path(path), size), order="C"))
