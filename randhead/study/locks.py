"""Locks by which workers claim runs: one file per run, which the operating system unlocks when a worker dies.

The file stays there: if it were deleted, a worker that has just opened it could lock a file that others do not see.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from randhead.errors import RunError
from randhead.runs.lock import acquire

ENDING = ".lock"
MOUNTS = Path("/proc/self/mountinfo")
LOCAL = {"nolock", "local_lock=all", "local_lock=flock", "localflock"}  # options of NFS, and the last of Lustre
ELSEWHERE = "keep the study on a file system with locks (flock), or start a single worker elsewhere and copy the folder"


@contextlib.contextmanager
def claim(path: Path) -> Iterator[bool]:
    """A context that has the lock of a file, if no other process has it.

    Args:
        path: the file of the lock; its folder is created if it is missing.

    Yields:
        Whether the lock is ours until the end of the context.

    Raises:
        RunError: if the file cannot be locked: two workers could train the same run at the same time.
    """
    with contextlib.ExitStack() as stack:
        yield _is_acquired(path, stack)


def is_claimed(path: Path) -> bool:
    """Whether another process has the lock of a file.  Raises RunError as `claim`."""
    with claim(path) as is_free:
        return not is_free


def local_only(folder: Path, mounts: str | None = None) -> str | None:
    """A warning if the locks of a folder are not seen by other machines, which share it over a network; else None.

    Args:
        folder: the folder.
        mounts: the content of /proc/self/mountinfo; by default that of this process, nothing if it has none.
    """
    if mounts is None:
        with contextlib.suppress(OSError):
            mounts = MOUNTS.read_text(encoding="utf-8", errors="replace")
    path, found = folder.resolve(), (Path("/"), "")
    for words in (line.split(" ") for line in (mounts or "").splitlines()):
        point = Path(words[4].replace("\\040", " "))
        if path.is_relative_to(point) and len(point.parts) >= len(found[0].parts):
            found = point, words[-1]  # the options of the file system itself
    options = set(found[1].split(",")) & LOCAL
    if not options:
        return None
    return f"{found[0]} is mounted with {min(options)}: its locks hold on one machine, so start workers on one only"


def _is_acquired(path: Path, stack: contextlib.ExitStack) -> bool:
    """Whether the lock is ours until the stack is closed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        missing = acquire(path, stack, patience_s=0)
    except BlockingIOError:
        return False
    except OSError as error:
        raise RunError(f"{path} cannot be locked ({error.strerror or error})", hint=ELSEWHERE) from None
    if missing is not None:
        raise RunError(f"{path}: its file system has no locks ({missing})", hint=ELSEWHERE)
    return True
