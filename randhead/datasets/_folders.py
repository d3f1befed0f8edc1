"""The entries and image files of a folder, without hidden ones, sorted so that the file system has no influence."""

import os
from pathlib import Path

from randhead.datasets._decode import EXTENSIONS
from randhead.errors import DataFileError


def image_files(folder: Path) -> list[Path]:
    """The image files under a folder, sorted.  Links to files are included, links to folders and hidden files are not.

    Raises DataError for a folder that cannot be read.
    """
    found = []
    for entry in entries(folder):
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            found += image_files(path)
        elif path.suffix.lower() in EXTENSIONS and not (entry.is_symlink() and path.is_dir()):
            found.append(path)
    return found


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted by name, without hidden ones.  Raises DataError if it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        hint = "give a folder of images; unpack archives first"
        raise DataFileError(f"{folder}: {error.strerror}", hint=hint) from error
