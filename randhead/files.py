"""Files that are never half written: a reader sees the old content or the new content, even after a power failure."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from randhead.errors import UsageError

FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
FORBIDDEN = (errno.EACCES, errno.EPERM)


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
    try:
        _write(Path(path), content)
    except OSError as error:
        if error.filename and Path(error.filename).name.startswith(f".{Path(path).name}."):
            error.filename, error.filename2 = str(path), None
        raise


def _write(path: Path, content: bytes | str | Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    fragment = Path(name)
    try:
        if callable(content):
            content(fragment)
        else:
            # Bytes of file names that are not UTF-8 are written as escapes: the file is UTF-8 in any case.
            fragment.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
        with fragment.open("rb+") as file:
            os.fsync(file.fileno())
        fragment.chmod(0o666 & ~_umask())
        fragment.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fragment.unlink()
        raise
    _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically.  Raises ValueError for NaN and infinity, which JSON does not have."""
    atomic_write(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable.  Windows cannot open a folder, and does not need this."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
