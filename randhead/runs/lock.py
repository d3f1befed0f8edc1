"""The lock of a run folder: one training at a time, and none of the fragments that a killed one left."""

import contextlib
from collections.abc import Iterator

from randhead.errors import RunError
from randhead.runs.folder import Run

FRAGMENTS = (".*.tmp", ".tmp*")  # of files whose writer was killed: ours, and those of safetensors


@contextlib.contextmanager
def locked(run: Run) -> Iterator[None]:
    """A context in which no other training can use the run folder.  It makes the folder, and deletes fragments in it.

    The operating system holds the lock for this process, so a kill leaves none behind.

    Raises:
        RunError: if another training holds the lock, or if it cannot be made.
    """
    from filelock import FileLock, Timeout  # torch imports it too; listing runs does without

    # Not by thread: a generator of events may be closed by another thread than the one that began it.
    lock = FileLock(run.path / ".lock", timeout=0, thread_local=False)
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
