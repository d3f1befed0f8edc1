"""Reading all images of a dataset to find out what is in it."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

from randhead.config import data_source
from randhead.datasets._copies import comparable, with_copies
from randhead.datasets._dataset import Dataset
from randhead.datasets._files import Listing, chosen_size, report_on, split_rows
from randhead.datasets._opening import Rules
from randhead.datasets._options import Options, Progress
from randhead.datasets._reading import read_files
from randhead.datasets._scan import Scan, count_classes, count_duplicates, groups, pairs


def scan(
    data: str | Path,
    *,
    workers: int | None = None,
    max_megapixels: float | None = None,
    progress: Progress | None = None,
) -> Scan:
    """Read every image of a dataset, and find out what is in it and what is wrong with it.

    Args:
        data: a folder of images, or the name of a dataset, which is downloaded if it is missing.  A `Path` is always a
            folder.
        workers: number of threads that decode; None for one per processor.
        max_megapixels: larger images cannot be used; None for 89.5.
        progress: called with (done, total).

    Returns:
        The `Scan`, which a notebook shows as tables.

    Raises:
        UsageError: for a name that is unknown.
        DataError: if the folder does not have a known layout.
    """
    limit = Rules().max_megapixels if max_megapixels is None else max_megapixels
    options = Options(workers=workers or min(256, os.cpu_count() or 1), max_megapixels=limit, progress=progress)
    found = data_source.folder(data) if isinstance(data, Path) else data_source.find(data)
    if isinstance(found, Path):
        from randhead.datasets import image_folder

        return _scan_files(str(data), image_folder.listing(found), options, image_folder.TEST_SHARE)
    from randhead.datasets import load

    return _scan_dataset(load(found, **vars(options)))


def _scan_files(folder: str, listing: Listing, options: Options, test_share: float) -> Scan:
    rules = Rules(options.bit_depth, options.max_megapixels)
    size = chosen_size(listing, options)
    read = read_files(listing.paths, size, None, rules, workers=options.workers, progress=options.progress)
    good = [row for row, facts in enumerate(read.facts) if facts is not None]
    members = {split: rows.numpy() for split, rows in split_rows(listing, good, options, test_share).items()}
    labels, keys, facts = listing.label_array(), read.keys(), [found for found in read.facts if found]
    names = [path.relative_to(listing.root).as_posix() for path in listing.paths]
    return Scan(
        folder=folder,
        bad_images=tuple(read.bad),
        classes=count_classes(listing.class_names, {split: labels[rows] for split, rows in members.items()}),
        report=report_on(listing, read, members),
        sizes=dict(Counter(found.size for found in facts).most_common()),
        modes=dict(Counter(found.mode for found in facts).most_common()),
        one_colour=tuple(names[row] for row, found in enumerate(read.facts) if found and found.flat),
        copies=tuple(pairs(keys, names, members)),
        two_classes=tuple(groups(keys, names, labels)),
        duplicates=count_duplicates(keys),
    )


def _scan_dataset(dataset: Dataset) -> Scan:
    """The result for images in memory, which are named by their split and their index in it."""
    keys, labels, members = comparable({name: (split.images, split.labels) for name, split in dataset.splits.items()})
    names = [f"{split} {i}" for split, rows in members.items() for i in range(len(rows))]
    blank = [name for name, key in zip(names, keys, strict=True) if not key]
    report = replace(dataset.report, images=len(keys), one_colour={"": len(blank)} if blank else {})
    return Scan(
        folder=dataset.name,
        classes=count_classes(dataset.class_names, {split: labels[rows] for split, rows in members.items()}),
        report=with_copies(report, keys, labels, members),
        sizes={(dataset.image_size, dataset.image_size): len(keys)},
        one_colour=tuple(blank),
        copies=tuple(pairs(keys, names, members)),
        two_classes=tuple(groups(keys, names, labels)),
        duplicates=count_duplicates(keys),
    )
