"""The folder of decoded sets in the user's cache: what is in it, and room for one more.

A set is a folder in it, written under another name and renamed when it is complete.
"""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from randhead.datasets._kept_set import INDEX, Description, describe
from randhead.files import scratch_folder, sweep, sync_folder
from randhead.tables import Cell, Result, Table, count, rows

MIB = 1 << 20
RESERVE = 1 << 30  # bytes of the disk that are left to others, such as checkpoints; of a small disk it is a tenth
VARIABLE = "RANDHEAD_CACHE"
SET = re.compile(r"[0-9a-f]{32}-\d+(-\d+)?")  # what identifies the files, the size of the images, the bit depth
OURS = re.compile(rf"{SET.pattern}|[0-9a-f]{{32}}")  # while it is written


@dataclass(frozen=True)
class DecodedSet:
    """A decoded set in the cache.

    Attributes:
        path: its folder.
        description: of the images; None if it is damaged or of another version.
        bytes: on disk.
        used_s: when it was last used, in seconds since 1970.
    """

    path: Path
    description: Description | None
    bytes: int
    used_s: float


@dataclass(frozen=True)
class DecodedCache(Result):
    """The decoded images that are kept on disk.

    Attributes:
        folder: where they are; None if none are kept, see `cache_folder`.
        sets: the sets, the last used ones first.
    """

    folder: Path | None
    sets: tuple[DecodedSet, ...] = ()

    @property
    def bytes(self) -> int:
        """The size of all sets."""
        return sum(each.bytes for each in self.sets)

    def to_json(self) -> dict[str, Any]:
        """The folder, the size of all sets, and each set."""
        return {
            "folder": None if self.folder is None else str(self.folder),
            "bytes": self.bytes,
            "sets": [_document(each) for each in self.sets],
        }

    def tables(self) -> Iterator[Table]:
        """One row per set; no table without sets."""
        if self.sets:
            columns = ("decoded images of", "images", "px", "MiB", "last used")
            yield Table("", columns, rows(map(_row, self.sets)))

    def summary(self) -> str:
        """The number and size of the sets, and where they are, in words."""
        if self.folder is None:
            return "not kept, as RANDHEAD_CACHE is empty or the home directory is unknown"
        return f"{count(len(self.sets), 'set')}, {self.bytes / MIB:,.1f} MiB, in {self.folder}"


def cache_folder() -> Path | None:
    """Where decoded sets are kept; None if nowhere.

    It is the folder decoded/ in $RANDHEAD_CACHE, else in randhead/ in $XDG_CACHE_HOME, else in ~/.cache/randhead.  None
    if RANDHEAD_CACHE is empty, or if there is none of them, as in containers without a home directory.
    """
    given, base = os.environ.get(VARIABLE), Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given == "":
        return None
    try:
        if given:
            return Path(given).expanduser().absolute() / "decoded"
        base = base if base.is_absolute() else Path("~/.cache").expanduser()
    except (RuntimeError, OSError):
        return None
    return base / "randhead" / "decoded"


def decoded_cache() -> DecodedCache:
    """The decoded images that are kept on disk, so that the next start need not decode them.

    Example:
        >>> from randhead import datasets
        >>> datasets.decoded_cache().bytes  # doctest: +SKIP
        187904400
    """
    folder = cache_folder()
    found = _files(folder) if folder else []
    return DecodedCache(folder, tuple(DecodedSet(path, describe(path), size, used) for path, size, used in found))


def clear_decoded_cache() -> DecodedCache:
    """Delete all decoded images that are kept on disk; jobs that use them keep what they have opened.

    Returns:
        What was deleted.
    """
    found = decoded_cache()
    for each in found.sets:
        remove(each.path)
    if found.folder:
        sweep(found.folder, _is_ours)
    return DecodedCache(found.folder, tuple(each for each in found.sets if not each.path.exists()))


@contextlib.contextmanager
def new_set(folder: Path, name: str, size: int, bound: int) -> Iterator[Path]:
    """A context with a folder for a set of `size` bytes, for which there is room; see `publish`.

    Raises OSError if there is none on the disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder, _is_ours)
    make_room(folder, bound - size)
    disk = shutil.disk_usage(folder)
    if disk.free < size + min(RESERVE, disk.total // 10):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    with scratch_folder(folder, name) as scratch:
        yield scratch


def publish(scratch: Path, path: Path, bound: int) -> Path:
    """Rename a folder that is complete.  Returns where it is: if another process was faster, its set is equal."""
    sync_folder(scratch)
    remove(path)
    try:
        scratch.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return scratch
    sync_folder(path.parent)
    make_room(path.parent, bound, keep=path)  # others may have written at the same time
    return path


def make_room(folder: Path, most: int, *, keep: Path | None = None) -> None:
    """Delete the sets that were not used for the longest time, until at most so many bytes are in use."""
    found = _files(folder)
    total = sum(size for _, size, _ in found)
    for path, size, _ in reversed(found):
        if total > most and path != keep:
            remove(path)
            total -= size


def kept_sets(folder: Path, key: str) -> Iterator[tuple[Path, Description]]:
    """The sets of the files with this key, at any size and bit depth; none in a folder that cannot be read."""
    paths: list[Path] = []
    with contextlib.suppress(OSError):
        paths = sorted(folder.glob(f"{key}-*"))
    for path in paths:
        if found := describe(path):
            yield path, found


def remove(path: Path) -> None:
    """Delete a set in one step: nobody sees a part of it, and memory maps of it stay valid."""
    with contextlib.suppress(OSError), scratch_folder(path.parent, path.name) as bin_:
        path.replace(bin_ / path.name)


def mark_used(path: Path) -> None:
    """Record that a set is used now."""
    with contextlib.suppress(OSError):
        os.utime(path / INDEX)


def _files(folder: Path) -> list[tuple[Path, int, float]]:
    """The folder, the bytes and the time of last use of each set, the last used ones first."""
    found = []
    with contextlib.suppress(OSError):  # no such folder
        for path in folder.iterdir():
            if SET.fullmatch(path.name):
                with contextlib.suppress(OSError):  # removed by another process
                    states = [file.stat() for file in path.iterdir()]
                    used = max((state.st_mtime for state in states), default=0.0)
                    found.append((path, sum(state.st_size for state in states), used))
    return sorted(found, key=lambda each: (-each[2], each[0].name))


def _is_ours(name: str) -> bool:
    return OURS.fullmatch(name) is not None


def _document(each: DecodedSet) -> dict[str, Any]:
    known = each.description
    return {
        "folder": known.folder if known else None,
        "images": known.images if known else None,
        "image_size": known.image_size if known else None,
        "has_pixels": known.has_pixels if known else None,
        "bytes": each.bytes,
        "used_s": each.used_s,
        "path": str(each.path),
    }


def _row(each: DecodedSet) -> tuple[Cell, ...]:
    used, known = datetime.fromtimestamp(each.used_s).strftime("%Y-%m-%d %H:%M"), each.description
    size = f"{each.bytes / MIB:,.1f}"
    if known is None:
        return (f"{each.path.name}: damaged, or of another version", None, None, size, used)
    return (f"{known.folder}{'' if known.has_pixels else ': no pixels'}", known.images, known.image_size, size, used)
