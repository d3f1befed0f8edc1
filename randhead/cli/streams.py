"""Standard streams that raise nothing: a reader that is gone, a closed terminal, a full disk, a name beyond ASCII.

`randhead train 2>&1 | head` and a closed terminal must not end a computation: what cannot be written is dropped.
"""

import errno
import io
import os
import re
import select
import sys

GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ECONNRESET, errno.ESHUTDOWN)
SIZES, SIZE = ("COLUMNS", "LINES", "TERMINAL_WIDTH"), re.compile("[1-9][0-9]{0,3}")


class Stream(io.FileIO):
    """A file descriptor for writing that never raises an OSError: what cannot be written is dropped.

    Attributes:
        error: why something was dropped, or None.
    """

    error: OSError | None = None

    def write(self, data: object) -> int:
        """Write everything, or drop the rest."""
        left = memoryview(data).cast("B")  # type: ignore[arg-type]
        total = len(left)
        while left and not self.reader_is_gone:
            try:
                written = super().write(left)
            except OSError as error:
                self.error = error
                break
            if written is None:  # a descriptor that does not block, and is full
                select.select([], [self], [])
            else:
                left = left[written:]
        return total

    @property
    def reader_is_gone(self) -> bool:
        """Whether nobody can read what is written; other errors, such as a full disk, can end."""
        return self.error is not None and self.error.errno in GONE


def forget_impossible_sizes() -> None:
    """Unset sizes of the terminal that none has (COLUMNS=0): Rich and Typer would show nothing, or fail."""
    for name in SIZES:
        if name in os.environ and not SIZE.fullmatch(os.environ[name]):
            del os.environ[name]


def protect() -> None:
    """Replace stdout and stderr of this process by streams that can be lost; streams of a caller are kept.

    Characters that the console cannot encode are escaped.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if os.name != "posix":
        return
    _occupy()
    for name in ("stdout", "stderr"):
        old = getattr(sys, name)
        if old is None:  # it was closed before the start
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123
        elif old is getattr(sys, f"__{name}__"):
            setattr(sys, name, _protected(old))


def lost_output() -> OSError | None:
    """Why a part of the output is missing although somebody could read it: a full disk, for example."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.error if isinstance(raw, Stream) and not raw.reader_is_gone else None


def flush() -> None:
    """Write what is buffered."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _protected(old: io.TextIOWrapper) -> io.TextIOWrapper:
    old.flush()
    raw = Stream(old.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=old.encoding,
        errors=old.errors,
        line_buffering=old.line_buffering,
        write_through=old.write_through,
    )


def _occupy() -> None:
    """Open the standard descriptors that are closed, so that no file of a run gets their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
