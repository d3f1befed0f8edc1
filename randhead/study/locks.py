"""Locks by which workers claim runs: one file per run, which the operating system unlocks when a worker dies.

The file stays there: if it were deleted, a worker that has just opened it could lock a file that others do not see.
"""

import contextlib
import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from randhead.errors import RunError
from randhead.files import described

ENDING = ".lock"
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
    lock = _acquired(path)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def is_claimed(path: Path) -> bool:
    """Whether another process has the lock of a file.  Raises RunError as `claim`."""
    with claim(path) as is_free:
        return not is_free


def _acquired(path: Path) -> Any:
    """The lock, which is ours; None if another process has it."""
    from filelock import FileLock, Timeout  # slow to import, and not needed to read a study

    # A lock that is thread-local could not be released by another thread, which may end a generator of events.
    options: dict[str, Any] = {"timeout": 0, "thread_local": False}
    if "fallback_to_soft" in inspect.signature(FileLock.__init__).parameters:
        options["fallback_to_soft"] = False  # to a file that a killed worker would leave behind
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # versions without that option warn when they fall back
            lock.acquire()
    except Timeout:
        return None
    except OSError as error:
        raise RunError(f"cannot be locked: {described(error)}", hint=ELSEWHERE) from None
    except (NotImplementedError, UserWarning) as error:
        raise RunError(f"{path}: its file system has no locks ({error})", hint=ELSEWHERE) from None
    return lock
