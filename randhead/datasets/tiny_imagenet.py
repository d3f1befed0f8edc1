"""Tiny ImageNet: 110,000 labelled photographs of 64 x 64 pixels in 200 classes of ImageNet; 100,000 for training.

Le and Yang, "Tiny ImageNet visual recognition challenge", Stanford CS231N 2015.  The labels of its test images were
never published: as is usual, its 10,000 validation images are the test split here.  Class names are WordNet ids.
"""

from dataclasses import replace
from pathlib import Path

from randhead.datasets import Dataset, Options, ReadReport
from randhead.datasets._download import Source, fetch, unpack
from randhead.datasets._files import Listing, load_files
from randhead.datasets._folders import find_images, subfolders
from randhead.errors import DataError

FOLDER = "tiny-imagenet-200"
ADDRESS = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
ANNOTATIONS = "val_annotations.txt"
SOURCE = Source(f"{FOLDER}.zip", (ADDRESS,), "90528d7ca1a48142e341f4ef8d21d0de")


def load(options: Options) -> Dataset:
    """Load Tiny ImageNet.  Raises DataError if it is damaged, or if it is missing and cannot be downloaded."""
    root = options.downloads()
    folder = root / FOLDER
    if not folder.is_dir():
        options.check_download("tiny_imagenet")
        fetch([SOURCE], root, options.progress)
        unpack(root / SOURCE.path, folder)
    # A published set, which nobody can change: nothing is reported.
    return replace(load_files(listing(folder), options), report=ReadReport())


def is_unpacked(folder: Path) -> bool:
    """Whether a folder is what the archive has in it, and its validation images were not sorted into class folders."""
    return (folder / "val" / ANNOTATIONS).is_file() and (folder / "val" / "images").is_dir()


def listing(folder: Path, name: str = "tiny_imagenet") -> Listing:
    """The files in train/WNID/images/, and in val/images/ with their classes from val/val_annotations.txt.

    Raises DataError if they do not belong together.
    """
    class_names = tuple(path.name for path in subfolders(folder / "train"))
    train = {path: name for name in class_names for path in find_images(folder / "train" / name).images}
    pictures = find_images(folder / "val" / "images").images
    try:
        lines = (folder / "val" / ANNOTATIONS).read_text().splitlines()
        classes = dict(line.split("\t")[:2] for line in lines)
        test = {path: classes[path.name] for path in pictures}
        labels = [class_names.index(name) for name in (*train.values(), *test.values())]
    except (OSError, KeyError, ValueError) as error:
        hint = f"unpack the whole archive again; if randhead has fetched it, delete {folder}"
        raise DataError(f"{folder}: {ANNOTATIONS} and the images do not belong together", hint=hint) from error
    splits = ["train"] * len(train) + ["test"] * len(test)
    return Listing(name, folder, class_names, [*train, *test], labels, splits)
