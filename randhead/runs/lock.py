"""The lock of a run folder: one training at a time, and the temporary files of a killed training are deleted."""

import contextlib
from collections.abc import Iterator

from randhead.errors import RunError
from randhead.runs.folder import Run

NAME = ".lock"
PATIENCE_S = 0.2  # `is_locked` holds the lock for a moment
FRAGMENTS = (".*.tmp", ".tmp*")  # temporary files of randhead and of safetensors, left if the process was killed


@contextlib.contextmanager
def locked(run: Run) -> Iterator[None]:
    """A context in which no other training can use the run folder.  It creates the folder and deletes fragments in it.

    The operating system releases the lock when the process ends, even if it is killed.

    Raises:
        RunError: if another training has the lock, or if the lock cannot be created.
    """
    from filelock import FileLock, Timeout  # slow to import, and not needed to list runs

    # Not thread-local: a generator of events may be closed by another thread than the one that started it.
    lock = FileLock(run.path / NAME, timeout=PATIENCE_S, thread_local=False)
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise RunError(f"{run.path} is being trained by another process", hint="wait for it, or stop it") from None
    except (OSError, NotImplementedError) as error:  # the latter from filelock 3, if the file system has no locks
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        hint = "check its permissions and its file system, or use another `root`"
        raise RunError(f"{run.path} cannot be locked ({reason})", hint=hint) from None
    try:
        for pattern in FRAGMENTS:
            for fragment in [*run.path.glob(pattern), *run.checkpoints.glob(pattern)]:
                fragment.unlink()
        yield
    finally:
        lock.release()


def is_locked(run: Run) -> bool:
    """Whether a training uses the run folder now.  False if that cannot be told."""
    path = run.path / NAME
    if path.is_symlink() or not path.is_file():  # never follow a link that a received folder may have
        return False
    from filelock import FileLock, Timeout

    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
