"""Files that are never half written: a reader sees the old content or the new content, even after a power failure."""

import contextlib
import errno
import functools
import json
import os
import re
import shutil
import stat
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from randhead.errors import UsageError

FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
OF_DISK = (*FULL, errno.EIO, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM)
# What file systems answer that do not have an operation (NFS, Lustre, CIFS, FUSE, ...): it is done without.
UNSUPPORTED = tuple(
    getattr(errno, name)
    for name in ("ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EINVAL", "ENOLCK", "ENOTTY")
    if hasattr(errno, name)
)
RUN_FOLDERS = ("checkpoints", "reports", "features")
LINK_OUT = "a link that leaves the run folder, through which nothing is written"
# .NAME.HOST-PID.RANDOM.tmp, so that what a killed process left is known from what another one is writing.
FRAGMENT = re.compile(r"\.(?P<name>.+)\.(?P<host>\w+)-(?P<pid>\d+)\.\w+\.tmp")
OLD_FRAGMENT = re.compile(r"\.(?P<name>.+)\.\w{8}\.tmp")  # of older versions, which do not say whose they are
ABANDONED_S = 3600  # nothing is written to a fragment for so long if its process is alive


def expanded(path: str | Path, hint: str) -> Path:
    """A path with ~ and ~USER replaced by the home directory.  Raises UsageError, with the hint, if there is none.

    A user id without an entry in /etc/passwd, as in containers, has no home directory unless HOME is set.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        reason = "the home directory is unknown" if Path(path).parts[0] == "~" else "no such user"
        raise UsageError(f"{path}: {reason}", hint=hint) from None


def atomic_write(path: Path, content: bytes | str | Callable[[Path], None]) -> None:
    """Write a file in one step.

    The bytes are first written to disk under another name (flush, fsync), which then replaces `path` (rename, fsync of
    the folder).

    Args:
        path: the file; its folder is created if it is missing.
        content: what to write, or a function that writes a file at the path that it is given.

    Raises:
        OSError: if writing fails, for example on a full disk.  It names `path`, which keeps its old content; the
            temporary file is deleted.
    """
    path = Path(path)
    with naming(path):
        _write(path, content)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """A context in which a file is written: an error of the disk, or of its temporary file, names the file itself."""
    try:
        yield
    except OSError as error:
        if error.filename is None:  # of a write to an open file
            is_ours = error.errno in OF_DISK
        else:
            is_ours = any(part.startswith(f".{path.name}.") for part in Path(os.fsdecode(error.filename)).parts)
        if is_ours:
            error.filename, error.filename2 = str(path), None
        raise


def _write(path: Path, content: bytes | str | Callable[[Path], None]) -> None:
    _refuse_links(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(path.parent, path.name) as folder:  # some writers make temporary files beside what they write
        fragment = folder / path.name
        fragment.touch()
        mode = fragment.stat().st_mode  # that of new files; asking for the umask changes it, also for other threads
        if callable(content):
            content(fragment)
        else:
            # Bytes of file names that are not UTF-8 are written as escapes: the file is UTF-8 in any case.
            fragment.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
        with fragment.open("rb+") as file:
            sync_file(file.fileno())
        with unsupported_is_fine(errno.EPERM):
            fragment.chmod(stat.S_IMODE(mode))
        fragment.replace(path)
    sync_folder(path.parent)


@contextlib.contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """A context with a hidden folder for what will be `name`; `sweep` deletes it if this process is killed."""
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=f".{name}.{_host()}-{os.getpid()}.", suffix=".tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def unsupported_is_fine(*more: int) -> Iterator[None]:
    """A context in which an operation that the file system does not have is left out."""
    try:
        yield
    except OSError as error:
        if error.errno not in (*UNSUPPORTED, *more):
            raise


def sweep(folder: Path, is_ours: Callable[[str], bool]) -> None:
    """Delete what killed processes left of files that they were writing, never what another process writes now.

    Args:
        folder: the folder of the files.
        is_ours: whether a file of a name is one of randhead; others are kept.
    """
    with contextlib.suppress(OSError):  # no such folder, or one that cannot be written to
        for path in list(folder.iterdir()):
            found = FRAGMENT.fullmatch(path.name) or OLD_FRAGMENT.fullmatch(path.name)
            if found and is_ours(found["name"]) and _is_abandoned(path, found.groupdict()):
                delete(path)


def delete(path: Path) -> None:
    """Delete a file, a link or a folder, but nothing that a link leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)  # does not follow links
    else:
        path.unlink(missing_ok=True)


def leads_elsewhere(folder: Path) -> bool:
    """Whether a folder is a link that leaves the folder that it is in."""
    return folder.is_symlink() and not folder.resolve().is_relative_to(folder.parent.resolve())


def _is_abandoned(fragment: Path, owner: Mapping[str, str]) -> bool:
    if owner.get("host") == _host() and os.name == "posix":
        try:
            os.kill(int(owner["pid"]), 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            return False
        return False
    inside = fragment.iterdir() if fragment.is_dir() and not fragment.is_symlink() else ()
    return time.time() - max(path.lstat().st_mtime for path in (fragment, *inside)) > ABANDONED_S


@functools.cache
def _host() -> str:
    """What identifies the machine, or the container, within which the numbers of processes are unique."""
    name = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    with contextlib.suppress(OSError):
        name += str(Path("/proc/self/ns/pid").readlink())
    return f"{zlib.crc32(name.encode(errors='replace')):08x}"


def write_json(path: Path, value: Any) -> None:
    """Write `value` as `json_text`, atomically.  Raises ValueError for NaN and infinity, which JSON does not have."""
    atomic_write(path, json_text(value) + "\n")


def json_text(value: Any, indent: str = "") -> str:
    """JSON with one line per entry of an object, and lists of numbers or words on one line.

    A table of 10,000 rows of 3 numbers takes 0.2 MB in this form, and 0.6 MB with one line per number.

    Raises:
        ValueError: for NaN and infinity, which JSON does not have.

    Example:
        >>> print(json_text({"n": 2, "pairs": [[0, 1, 5], [1, 0, 2]]}))
        {
          "n": 2,
          "pairs": [[0, 1, 5], [1, 0, 2]]
        }
    """
    if not _has_objects(value):
        return json.dumps(value, allow_nan=False)
    inner = indent + "  "
    if isinstance(value, Mapping):
        names = (json.dumps(name if isinstance(name, str) else json.dumps(name)) for name in value)
        lines = [f"{name}: {json_text(each, inner)}" for name, each in zip(names, value.values(), strict=True)]
    else:
        lines = [json_text(each, inner) for each in value]
    first, last = "{}" if isinstance(value, Mapping) else "[]"
    return f"{first}\n" + ",\n".join(inner + line for line in lines) + f"\n{indent}{last}"


def _has_objects(value: Any) -> bool:
    """Whether a value is an object or a list of them that is not empty; the first entry of a list tells for all."""
    if isinstance(value, Mapping):
        return bool(value)
    return isinstance(value, list | tuple) and bool(value) and _has_objects(value[0])


def described(error: OSError) -> str:
    """An error of the system in words, with the path.

    Example:
        >>> described(OSError(errno.EROFS, "Read-only file system", "runs/a"))
        'runs/a: Read-only file system'
    """
    where = f"{os.fspath(error.filename)}: " if isinstance(error.filename, str | os.PathLike) else ""
    return f"{where}{error.strerror or error}"


def way_out(error: OSError) -> str:
    """What to do about an error of the system that prevents writing.

    Example:
        >>> way_out(OSError(errno.ENOSPC, "No space left on device"))
        'free some space'
    """
    if error.errno in FULL:
        return "free some space"
    if error.errno == errno.EROFS:
        return "it cannot be written to: copy the folder to another disk, or give another one"
    if error.errno in FORBIDDEN:
        return "check its permissions, or give another folder"
    return "check the path, its permissions and the space left on the disk"


def sha256(data: bytes | Path) -> str:
    """Hex SHA-256 of bytes, or of the content of a file."""
    import hashlib  # takes 3 ms, which `--help` would have to wait for

    if isinstance(data, Path):
        with data.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(data).hexdigest()


def _refuse_links(folder: Path) -> None:
    """Raise OSError for checkpoints/, reports/ or features/ of a run if it is a link that leaves the run folder."""
    of_a_run = folder.name in RUN_FOLDERS and (folder.parent / "config.json").exists()
    if of_a_run and leads_elsewhere(folder):
        raise OSError(errno.ELOOP, LINK_OUT, str(folder))


def sync_file(handle: int, *fine: int) -> None:
    """Wait until an open file is on disk, if it can be synced: the error numbers `fine`, too, say that it cannot."""
    with unsupported_is_fine(*fine):
        os.fsync(handle)


def sync_folder(folder: Path) -> None:
    """Make the rename itself durable.  Windows cannot open a folder, and does not need this."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        sync_file(handle, errno.EBADF)
    finally:
        os.close(handle)
