"""The lock of a run folder: one training at a time, and the temporary files of a killed training are deleted."""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from randhead.arguments import check_type
from randhead.errors import RunError
from randhead.files import FORBIDDEN, FULL, UNSUPPORTED
from randhead.runs import own_files, replacement
from randhead.runs.folder import Run

NAME = ".lock"
PATIENCE_S = 0.2  # `is_locked` holds the lock for a moment
HINT = "check its .lock, its permissions and its file system, or use another `root`"
WRITABLE = "use another `root`, or check this path, its permissions and the space left on the disk"
NO_LOCKS = "the file system of {} has no locks ({}): two trainings in this folder at the same time would not be noticed"


@contextlib.contextmanager
def locked(run: Run) -> Iterator[tuple[str, ...]]:
    """A context in which no other training can use the run folder.

    It creates the folder, deletes fragments in it, and finishes the replacement of a training that was interrupted.
    The operating system releases the lock when the process ends, even if it is killed.

    Yields:
        A warning if the file system has no locks.

    Raises:
        RunError: if another training has the lock, or if the lock cannot be created.
    """
    check_type("run", run, Run, "a `Run`")
    with contextlib.ExitStack() as stack:
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{run.path} cannot be made ({error.strerror or error})", hint=WRITABLE) from None
        try:
            warning = acquire(run.path / NAME, stack)
        except BlockingIOError:
            raise RunError(f"{run.path} is being trained by another process", hint="wait for it, or stop it") from None
        except OSError as error:
            if error.errno in (*FORBIDDEN, *FULL, errno.EROFS):
                raise RunError(f"{run.path} cannot be written to ({error.strerror})", hint=WRITABLE) from None
            reason = "its .lock is a link" if error.errno == errno.ELOOP else error.strerror or error
            raise RunError(f"{run.path} cannot be locked ({reason})", hint=HINT) from None
        replacement.finish(run)
        own_files.delete_fragments_of_trainings(run)
        own_files.sweep_fragments(run)
        yield () if warning is None else (NO_LOCKS.format(run.path, warning),)


def repair(run: Run, *, also_begun: bool = False) -> None:
    """Finish the replacement of a training that was interrupted, if it is possible now.

    Args:
        run: the run.
        also_begun: also delete a new training that was killed before its first checkpoint.
    """
    if replacement.was_interrupted(run.path) or (also_begun and replacement.has_begun(run.path)):
        with contextlib.suppress(RunError, OSError), locked(run):
            pass


def is_locked(run: Run) -> bool:
    """Whether a training uses the run folder now.  False if that cannot be told."""
    path = run.path / NAME
    if path.is_symlink() or not path.is_file():  # never follow a link that a received folder may have
        return False
    with contextlib.ExitStack() as stack:
        try:
            acquire(path, stack, patience_s=0)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def acquire(path: Path, stack: contextlib.ExitStack, *, patience_s: float = PATIENCE_S) -> str | None:
    """Lock a file until the stack is closed.  Returns the reason why the file system cannot, or None.

    The file is never emptied, and no link is followed: the folder may come from somebody else.

    Raises:
        BlockingIOError: if another process has the lock.
        OSError: if the file cannot be made or opened.
    """
    if os.name == "nt":
        return _lock_on_windows(path, stack, patience_s)
    import fcntl

    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO does not block either
    handle = os.open(path, flags, 0o666)
    stack.callback(os.close, handle)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise OSError(errno.EINVAL, f"{path.name} is not a regular file")
    end = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.01)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            return error.strerror or str(error)
        else:
            return None


def _lock_on_windows(path: Path, stack: contextlib.ExitStack, patience_s: float) -> str | None:
    from filelock import FileLock, Timeout  # slow to import, and not needed to list runs

    # Not thread-local: a generator of events may be closed by another thread than the one that started it.
    lock = FileLock(path, timeout=patience_s, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(errno.EAGAIN, "locked") from None
    except NotImplementedError as error:  # of filelock 3, if the file system has no locks
        return str(error)
    stack.callback(lock.release)
    return None
