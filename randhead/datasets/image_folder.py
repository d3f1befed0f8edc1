"""A folder of images: train/CLASS/... with val/ or test/ beside it, or only CLASS/..., which is split by seed.

Class names are the names of the folders in Unicode's composed form (NFC), sorted; images may be at any depth in them.
If beside train/ there is only val/ or only test/, it is the test split, and the validation split is drawn from train;
if there are both, both are used.  Other usual names of splits are known too (`_split_names`).  A test folder without
class folders is left out, with a note.  A folder without train/ is split by seed, stratified: a tenth for test, a tenth
for validation.  If all images have the same square size of at most 128 pixels, they keep it; otherwise they become
64 x 64, unless `image_size` is given.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from randhead.arguments import composed
from randhead.datasets import Dataset, Options, tiny_imagenet
from randhead.datasets._decode import EXTENSIONS
from randhead.datasets._files import Listing, load_files
from randhead.datasets._folders import Found, find_images, has_images
from randhead.datasets._layout import find_layout
from randhead.datasets._left_out import count_endings, left_out_notes
from randhead.datasets._report import ReadReport
from randhead.datasets._split_folders import listed, unwrapped
from randhead.errors import DataError, DataFileError, UsageError

TEST_SHARE = 0.1  # of a folder without train/
TWICE = 2  # other classes in the folder of a class that show a copy of the set


def load(options: Options, folder: Path | None = None) -> Dataset:
    """Load the images of a folder.  Raises DataError for another layout, or if an image cannot be used."""
    if folder is None:
        raise UsageError("image_folder is not a dataset by itself", hint='give the folder: `data="FOLDER"`')
    return load_files(listing(folder), options, test_share=TEST_SHARE)


def load_unlabelled(options: Options, folder: Path) -> Dataset:
    """Load the images of a folder whose classes do not matter: all of them as the split "all", if it has no splits.

    Raises DataError if there are none, or if one cannot be used.
    """
    found = find_images(folder)
    try:
        labelled = listing(folder)
    except DataError:
        if not found.images:
            raise
    else:
        if set(labelled.splits) != {"train"}:
            return load_files(labelled, options, test_share=TEST_SHARE)
        if len(labelled.paths) >= len(found.images):  # more if class folders are links
            return load_files(replace(labelled, splits=["all"] * len(labelled.paths), **_left_out(found)), options)
    number, name = len(found.images), folder.resolve().name
    whole = Listing(name, folder, ("images",), found.images, [0] * number, ["all"] * number, **_left_out(found))
    return load_files(whole, options)


def _left_out(found: Found) -> dict[str, Any]:
    return {"left_out": count_endings(found.others), "notes": left_out_notes(found)}


def listing(folder: Path) -> Listing:
    """The files of a folder with their classes and splits.  Raises DataError for a wrong layout; opens no image."""
    try:
        return _listing(folder)
    except DataError:
        raise
    except OSError as error:
        where = error.filename or folder
        raise DataFileError(
            f"{where}: {error.strerror or error}", hint="check the folder and its permissions"
        ) from error


def _listing(folder: Path) -> Listing:
    if tiny_imagenet.is_unpacked(base := unwrapped(folder)):
        unlabelled = f"{base / 'test'}: no labels, left out; val/ is the test split"
        notes = (unlabelled,) if has_images(base / "test") else ()
        return replace(tiny_imagenet.listing(base, folder.resolve().name), notes=notes)
    layout = find_layout(folder)
    class_names = tuple(layout.splits["train"])
    paths, labels, members, files = [], [], [], Found()
    for split, folders in layout.splits.items():
        for label, name in enumerate(class_names):
            found = find_images(folders[name])
            _check_class(folders[name], found, class_names)
            paths += found.images
            labels += [label] * len(found.images)
            members += [split] * len(found.images)
            files.others += found.others
            files.links += found.links
            files.hidden += found.hidden
            files.runs += found.runs
    left_out, remarks = count_endings(files.others), (*layout.notes, *left_out_notes(files))
    return Listing(folder.resolve().name, folder, class_names, paths, labels, members, left_out, remarks)


def _check_class(folder: Path, found: Found, class_names: tuple[str, ...]) -> None:
    """Raise DataError for a class without images, and for one that holds the other classes again."""
    if not found.images:
        (others,) = ReadReport(left_out=count_endings(found.others)).notes() or ("",)
        known = " ".join(sorted(EXTENSIONS))
        hint = "; ".join([*left_out_notes(found), f"remove it, or add images: {known}"])
        raise DataError(f"{folder}: a class without images{others and f'; {others}'}", hint=hint)
    again = [path for path in found.folders if path.parent == folder and composed(path.name) in class_names]
    if len(again) >= TWICE:
        raise DataError(
            f"{folder}: holds {listed(again)}, which are classes beside it",
            hint="remove the copy of the set, or rename its folders",
        )
