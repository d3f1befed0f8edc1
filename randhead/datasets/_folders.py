"""The entries and image files of a folder, without hidden ones, sorted so that the file system has no influence."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from randhead.datasets._decode import EXTENSIONS
from randhead.errors import DataFileError

# What operating systems and archives leave in folders: never images, and not worth a word.
JUNK_FILES = frozenset(("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r"))
JUNK_FOLDERS = frozenset(
    ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "__pycache__")
)

RUN = (".lock", "metrics.jsonl", "checkpoints")  # beside config.json in the folder of a run


@dataclass
class Found:
    """The files under a folder, sorted.

    Attributes:
        images: image files, by their endings.
        others: files with other endings, except hidden files and JUNK_FILES.
        links: links to folders, which are not followed.
        folders: the folders that were searched.
        hidden: files with the ending of an image whose names begin with a dot.
        runs: folders of runs, which were not searched.
    """

    images: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    hidden: list[Path] = field(default_factory=list)
    runs: list[Path] = field(default_factory=list)


def find_images(folder: Path) -> Found:
    """The files under a folder.  Raises DataError for a folder that cannot be read."""
    found = Found()
    _collect(folder, found)
    return found


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, and links to folders, sorted by name, without JUNK_FOLDERS and folders of runs."""
    return [path for path in _all_folders(folder) if not _is_of_runs(path)]


def folders_of_runs(folder: Path) -> list[Path]:
    """The folders in a folder that are runs or hold runs: their pictures are reports."""
    return [path for path in _all_folders(folder) if _is_of_runs(path)]


def loose_images(folder: Path) -> list[Path]:
    """The image files directly in a folder."""
    found = (Path(entry.path) for entry in entries(folder) if not _is_folder(entry))
    return [path for path in found if path.suffix.lower() in EXTENSIONS]


def has_images(folder: Path) -> bool:
    """Whether there is an image file under a folder, if there is such a folder."""
    if not folder.is_dir():
        return False
    return bool(loose_images(folder)) or any(has_images(path) for path in subfolders(folder) if not path.is_symlink())


def entries(folder: Path, *, hidden: bool = False) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted by name, hidden ones only if asked.  Raises DataError if it cannot be read."""
    try:
        with os.scandir(folder) as found:
            kept = (entry for entry in found if hidden or not entry.name.startswith("."))
            return sorted(kept, key=lambda entry: entry.name)
    except OSError as error:
        hint = "give a folder of images; unpack archives first"
        raise DataFileError(f"{folder}: {error.strerror}", hint=hint) from error


def _collect(folder: Path, found: Found) -> None:
    for entry in entries(folder, hidden=True):
        path, name = Path(entry.path), entry.name.lower()
        if name.startswith("."):  # ._0.png is what macOS notes about 0.png
            if path.suffix.lower() in EXTENSIONS and not name.startswith("._") and path.is_file():
                found.hidden.append(path)
        elif entry.is_dir(follow_symlinks=False):
            if _is_of_runs(path):
                found.runs.append(path)
            elif name not in JUNK_FOLDERS:
                found.folders.append(path)
                _collect(path, found)
        elif entry.is_symlink() and path.is_dir():
            found.links.append(path)
        elif os.path.splitext(name)[1] in EXTENSIONS:  # noqa: PTH122 - a fifth of the time of path.suffix
            found.images.append(path)
        elif name not in JUNK_FILES:
            found.others.append(path)


def _all_folders(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in entries(folder) if _is_folder(entry)]


def _is_of_runs(folder: Path) -> bool:
    """Whether a folder is a run, or a folder of runs, which has a file with the name of the latest one."""
    if _is_run(folder):
        return True
    if folder.name == "runs" and any(map(_is_run, _all_folders(folder))):
        return True
    return os.path.isfile(folder / "last") and not loose_images(folder)  # noqa: PTH113


def _is_run(folder: Path) -> bool:
    # Of a folder without permission os.path says False, and pathlib raises.
    return os.path.isfile(folder / "config.json") and any(os.path.exists(folder / name) for name in RUN)  # noqa: PTH110, PTH113


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower() not in JUNK_FOLDERS and _is_dir(entry)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
