"""A folder of images: train/CLASS/... with val/ or test/ beside it, or only CLASS/..., which is split by seed.

Class names are the names of the folders in Unicode's composed form (NFC), sorted; images may be at any depth in them.
If beside train/ there is only val/ or only test/, it is the test split, and the validation split is drawn from train;
if there are both, both are used.  A folder without train/ is split by seed, stratified: a tenth for test, a tenth for
validation.  If all images have the same square size of at most 128 pixels, they keep it; otherwise they become 64 x 64,
unless `image_size` is given.
"""

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from randhead.arguments import composed
from randhead.config import data_source
from randhead.datasets import Dataset, Options
from randhead.datasets._decode import EXTENSIONS
from randhead.datasets._files import Listing, find_bad, load_files
from randhead.datasets._folders import entries, image_files
from randhead.datasets._options import Progress
from randhead.errors import DataError, UsageError
from randhead.tables import Result, Table, rows

TEST_SHARE = 0.1  # of a folder without train/
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
UNPRINTABLE = ("Cc", "Cs")  # control characters, and bytes that are not UTF-8


def load(options: Options, folder: Path | None = None) -> Dataset:
    """Load the images of a folder.  Raises DataError for another layout, or if an image cannot be used."""
    if folder is None:
        raise UsageError("image_folder is not a dataset by itself", hint='give the folder: `data="FOLDER"`')
    return load_files(listing(folder), options, test_share=TEST_SHARE)


@dataclass(frozen=True)
class Scan(Result):
    """The images of a folder that cannot be used.

    Attributes:
        folder: the folder.
        bad_images: path and reason for each.
    """

    folder: Path
    bad_images: tuple[tuple[Path, str], ...]

    def to_json(self) -> dict[str, Any]:
        """The folder and its bad images."""
        bad = [{"path": str(path), "reason": reason} for path, reason in self.bad_images]
        return {"folder": str(self.folder), "bad_images": bad}

    def tables(self) -> Iterator[Table]:
        """One table of unreadable images, or none if all images can be read."""
        if self.bad_images:
            lines = rows((str(path), reason) for path, reason in self.bad_images)
            yield Table("", ("unreadable image", "reason"), lines)


def scan(folder: str | Path, *, workers: int | None = None, progress: Progress | None = None) -> Scan:
    """Read every image of a folder, and find those that cannot be used.

    Args:
        folder: a folder of images.
        workers: number of threads that decode; None for one per processor.
        progress: called with (done, total).

    Raises:
        DataError: if the folder does not have the layout described above.
    """
    bad = find_bad(listing(data_source.folder(folder)).paths, workers=workers or os.cpu_count() or 1, progress=progress)
    return Scan(Path(folder), tuple(bad))


def listing(folder: Path) -> Listing:
    """The files of a folder with their classes and splits.  Raises DataError for a wrong layout; opens no image."""
    splits = {name: _class_folders(path) for name, path in _split_folders(folder).items()}
    class_names = tuple(splits["train"])
    _check_classes(folder, splits)
    paths, labels, members = [], [], []
    for split, folders in splits.items():
        for label, class_folder in enumerate(folders.values()):
            found = image_files(class_folder)
            if not found:
                known = " ".join(sorted(EXTENSIONS))
                raise DataError(f"{class_folder}: a class without images", hint=f"remove it, or add images: {known}")
            paths += found
            labels += [label] * len(found)
            members += [split] * len(found)
    return Listing(folder.resolve().name, folder, class_names, paths, labels, members)


def _split_folders(folder: Path) -> dict[str, Path]:
    """The folder of each split, train first; the folder itself is train if it contains class folders."""
    found: dict[str, Path] = {}
    folders = _folders(folder)
    for path in folders:
        split = SPLIT_NAMES.get(path.name.lower())
        if split in found:
            raise DataError(f"{folder}: {found[split].name}/ and {path.name}/ are the same split", hint="keep one")
        if split:
            found[split] = path
    if "train" not in found:
        if found and len(found) == len(folders):
            raise DataError(f"{folder}: there is {' and '.join(sorted(found))} but no train", hint=data_source.LAYOUT)
        return {"train": folder}
    held_out = [split for split in ("val", "test") if split in found]
    if not held_out:
        raise DataError(
            f"{folder}: there is train but neither val nor test",
            hint=f"add one, or give {found['train']} to have it split by seed",
        )
    if held_out == ["val"]:
        return {"train": found["train"], "test": found["val"]}
    return {split: found[split] for split in ("train", *held_out)}


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, and links to folders, sorted by name."""
    paths = [Path(entry.path) for entry in entries(folder)]
    return [path for path in paths if path.is_dir()]


def _class_folders(folder: Path) -> dict[str, Path]:
    """Class name -> folder, sorted by name.  Raises DataError if there are none."""
    found = sorted((composed(path.name), path) for path in _folders(folder))
    folders = dict(found)
    if len(folders) < len(found):
        twice = next(name for (name, _), (other, _) in pairwise(found) if name == other)
        raise DataError(f"{folder}: two folders of class {twice!r}, in two forms of Unicode", hint="merge them")
    if not folders:
        loose = " (the images are directly in it)" if image_files(folder) else ""
        raise DataError(f"{folder}: no class folders{loose}", hint=data_source.LAYOUT)
    for name, path in folders.items():
        if any(unicodedata.category(character) in UNPRINTABLE for character in name):
            raise DataError(f"{str(path)!r}: a class name with bytes that cannot be printed", hint="rename the folder")
        if path.is_symlink() and path.resolve() in (folder.resolve(), *folder.resolve().parents):
            raise DataError(f"{path}: a link back to a folder that holds it", hint="remove the link")
    return folders


def _check_classes(folder: Path, splits: dict[str, dict[str, Path]]) -> None:
    expected = set(splits["train"])
    if len(expected) < 2:
        raise DataError(f"{folder}: only one class, {min(expected)!r}", hint="classification needs two or more")
    for split, folders in splits.items():
        for problem, names in (("lacks", expected - set(folders)), ("also has", set(folders) - expected)):
            if names:
                listed = ", ".join(sorted(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
                raise DataError(
                    f"{folder}: {split} {problem} the class folders {listed}", hint="every split needs the same classes"
                )
