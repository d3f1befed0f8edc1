"""Datasets: one file per dataset, each with one function, `load(options) -> Dataset`.

Every dataset has square RGB images of 8 bits in three splits: train, val and test.  The test split is the published
one; if there is none, it is drawn from the images by `split_seed`, stratified by class.  The validation split is always
drawn in this way.

Your own dataset is also a Python file with `load`, which may end with `return from_arrays(...)`:

    randhead.register_dataset("mine.py")
    images = datasets.load("mine")
"""

import contextlib
import functools
from pathlib import Path
from typing import Any, Protocol, cast

import torch

from randhead import registry
from randhead.config import Config, data_source
from randhead.datasets._build import from_arrays, with_report
from randhead.datasets._cache_folder import DecodedCache, clear_decoded_cache, decoded_cache
from randhead.datasets._contract import wrong_dataset
from randhead.datasets._dataset import Dataset, Split
from randhead.datasets._fewer import with_fewer
from randhead.datasets._fingerprint import changed_since, changes, fingerprint, fingerprints
from randhead.datasets._hold_out import Subset, divide_classes
from randhead.datasets._images import FileImages, Images, TensorImages
from randhead.datasets._left_out import image_files
from randhead.datasets._options import Options, Progress
from randhead.datasets._parallel import ahead
from randhead.datasets._ranks import ranks_in_class, stratified_order
from randhead.datasets._read_image import read_image, read_images
from randhead.datasets._report import SPLIT_WORDS, Copies, ReadReport
from randhead.datasets._scan import Scan, scan
from randhead.datasets._statistics import channel_statistics
from randhead.errors import UsageError

__all__ = [
    "SPLIT_WORDS",
    "Copies",
    "DecodedCache",
    "Dataset",
    "DatasetModule",
    "FileImages",
    "Images",
    "Options",
    "ReadReport",
    "Scan",
    "Split",
    "Subset",
    "TensorImages",
    "ahead",
    "changed_since",
    "changes",
    "channel_statistics",
    "clear_decoded_cache",
    "decoded_cache",
    "divide_classes",
    "fingerprint",
    "fingerprints",
    "from_arrays",
    "from_config",
    "image_files",
    "load",
    "ranks_in_class",
    "read_image",
    "read_images",
    "scan",
    "stratified_order",
]


class DatasetModule(Protocol):
    """The interface of a dataset: a module with this function."""

    def load(self, options: Options) -> Dataset:
        """Load the dataset.  Raises DataError if its files are missing or cannot be used."""
        ...


def load(name_or_folder: str | Path, *, labelled: bool = True, **options: Any) -> Dataset:
    """Load a dataset by its name, or the images of a folder.

    The decoded images of a folder are kept in the user's cache, so that the next call decodes none: `decoded_cache`.

    Args:
        name_or_folder: "digits", "cifar10", ..., or a folder of images.  A name has precedence over a folder of the
            same name: write ./NAME for the folder.
        labelled: whether the images need classes; if not, those of a folder without the layout of a dataset are in
            one split, "all".
        options: the fields of `Options`.

    Returns:
        The dataset.

    Raises:
        UsageError: if the name is unknown, or a value is out of bounds.
        DataError: if images are missing or cannot be used.

    Example:
        >>> digits = load("digits", validation=0.2)
        >>> {name: len(split) for name, split in digits.splits.items()}
        {'train': 1079, 'val': 359, 'test': 359}
    """
    found = data_source.find(name_or_folder)
    if isinstance(found, Path):
        from randhead.datasets import image_folder

        read = image_folder.load if labelled else image_folder.load_unlabelled
        return read(Options(**options), found)
    dataset = cast(DatasetModule, registry.load("datasets", found)).load(Options(**options))
    if registry.is_builtin("datasets", found):
        return dataset
    registry.expect("datasets", found, wrong_dataset(dataset))
    dataset = with_fewer(dataset, Options(**options))
    return dataset if dataset.report.images else with_report(dataset)


def from_config(
    config: Config,
    data: str | Path | None = None,
    *,
    device: str | torch.device = "cpu",
    image_size: int | None = None,
    bit_depth: int | None = None,
    held_out: bool = False,
    labelled: bool = True,
    found_in: str | Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Load the images of a configuration, or other images that are split and read in the same way.

    Args:
        config: its sections `data` and `machine` are used.
        data: name of a dataset, a folder of images, or a Python file, which is executed; None for the dataset of the
            configuration.
        device: the device on which resident images and labels are stored.
        image_size: side of the images in pixels; None for the size in the configuration.
        bit_depth: number of bits that the values of 16-bit images use; None for those that the brightest one uses.
        held_out: whether to load the classes `data.hold_out_classes` instead of the others; only for the
            configuration's own images.
        labelled: as in `load`.
        found_in: a folder of downloads that is looked at first, and to which nothing is written: a file that somebody
            else has made may name any.
        progress: called with (done, total) while images are read.

    Returns:
        The dataset.

    Raises:
        DataError: if images are missing or cannot be used.
    """
    options, machine = config.data, config.machine
    name = registry.use("datasets", str(data)) if data and registry.is_file(str(data)) else data or options.name
    read = functools.partial(
        load,
        name,
        labelled=labelled,
        image_size=image_size or options.image_size,
        validation=options.validation,
        split_seed=options.split_seed,
        train_images=None if data else options.train_images,
        memory_budget=machine.memory_budget_mb << 20,
        decoded_cache=machine.decoded_cache_mb << 20,
        workers=machine.workers,
        max_megapixels=machine.max_megapixels,
        bit_depth=bit_depth,
        skip_bad_images=options.skip_bad_images,
        progress=progress,
        device=device,
    )
    dataset = None
    if found_in is not None:
        with contextlib.suppress(OSError, UsageError):  # not there, or no folder: the user's own is used
            dataset = read(root=Path(found_in), download=False)
    if dataset is None:
        dataset = read(root=Path(machine.data_root))
    if data or not options.hold_out_classes:
        return dataset
    kept, left_out = divide_classes(dataset, options.hold_out_classes, seed=options.split_seed)
    return left_out if held_out else kept
