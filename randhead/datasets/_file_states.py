"""What identifies the content of image files without reading it: their paths, sizes, times and inodes."""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HEX = 32  # digits
POSIX = os.name == "posix"  # elsewhere, ctime is when a file was created


@dataclass(frozen=True)
class FileStates:
    """The states of N files.

    Attributes:
        key: hash of the absolute path, size, mtime, ctime and inode of each file, in order.
        newest_ns: the newest time at which one was changed, in nanoseconds since 1970.
        taken_ns: when their states were looked at.
    """

    key: str
    newest_ns: int
    taken_ns: int = field(compare=False)


def states_of(paths: Sequence[Path], *words: object) -> FileStates:
    """The states of files now.

    The inode is included because of folders that swap their names: the times of the files in them stay the same.  A
    file that is missing has a state too.

    Args:
        paths: the files, in order.
        words: what else the hash depends on.

    Raises:
        OSError: if paths are relative to a folder that is gone.
    """
    here = "" if all(path.is_absolute() for path in paths[:1]) else f"{os.getcwd()}/"  # noqa: PTH109
    lines, newest, now = [repr(words)], 0, time.time_ns()
    for path in map(str, paths):
        try:
            found = os.stat(path)  # noqa: PTH116 - as fast as it gets: a set has 100,000 files
        except OSError as error:
            lines.append(f"{error.errno} {here}{path}")
            continue
        lines.append(f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino} {here}{path}")
        newest = max(newest, found.st_ctime_ns if POSIX else found.st_mtime_ns)
    return FileStates(hashlib.sha256(os.fsencode("\0".join(lines))).hexdigest()[:HEX], newest, now)
