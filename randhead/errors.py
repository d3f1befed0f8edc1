"""The errors of randhead: a message says what is wrong and where, a hint says what to do next.

Each class carries the exit code of the command line (2 usage or config, 3 data, 4 checkpoint or run folder,
5 diverged), and is also the exception that Python itself would raise, so that `except ValueError` works as everywhere.
What else escapes belongs to somebody else, or is a bug in randhead, which exits with 1 (`cli.errors`): an error of the
system exits with 4, since commands write only to run folders; a machine that has too little memory, threads or open
files with 2, since other settings need less; and a package that cannot be imported, or the user's own file, with 2.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

MOST_LISTED = 40  # names; timm has 1,300 models


class RandheadError(Exception):
    """An error that the user can fix.  Every subclass can be copied and pickled, whatever its constructor takes.

    Args:
        message: what is wrong, and where.
        hint: what to do next; a traceback shows it below the message.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None):
        super().__init__(message)
        self.message = message
        self.with_hint(hint)

    def with_hint(self, hint: str | None) -> Self:
        """The error itself, with another hint."""
        self.hint = hint
        self.__notes__ = [f"hint: {hint}"] if hint else []  # what a traceback shows below the message
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Python's own way calls the constructor with `args`, which drops the hint and fails if it takes others.
        return _restored, (type(self), self.args, self.__dict__)


class UsageError(RandheadError, ValueError):
    """A command, argument or configuration value that cannot be used."""

    exit_code = 2


class ContractError(UsageError):
    """A member from outside the package that does not do what the contract of its family says."""


class DataError(RandheadError, ValueError):
    """Images, labels or a data folder that cannot be used."""

    exit_code = 3


class DataFileError(DataError, OSError):
    """A data file or folder that is missing, cannot be read or written, or cannot be downloaded."""

    # The __new__ of ValueError comes first in the order of the bases, and cannot create an OSError.
    __new__ = OSError.__new__  # type: ignore[assignment]


class RunError(RandheadError):
    """A run folder or checkpoint that is missing, damaged or of the wrong kind.

    It is neither a ValueError nor an OSError, since its causes are of both kinds.
    """

    exit_code = 4


class DivergedError(RandheadError, ArithmeticError):
    """Training reached a loss, features or weights that are not finite numbers."""

    exit_code = 5


class StopRequested(RandheadError):
    """The caller's `should_stop` returned True, between two batches."""

    exit_code = 130


def unknown(kind: str, name: object, known: Iterable[str]) -> UsageError:
    """The error for a name that is not among `known`, with the nearest name and a list (MOST_LISTED names at most)."""
    known, text = sorted(known), str(name)
    listed = known if len(known) <= MOST_LISTED else difflib.get_close_matches(text, known, n=5) or known[:5]
    more = f" and {len(known) - len(listed):,} more" if len(known) > len(listed) else ""
    return UsageError(f"unknown {kind} {name!r}", hint=f"{guess(text, known)}known: {', '.join(listed)}{more}")


def guess(name: str, known: Iterable[str], *, show: Callable[[str], str] = str) -> str:
    """The start of a hint that suggests the nearest of `known`, formatted by `show`; empty if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {show(near[0])!r}? " if near else ""


def _restored(kind: type[RandheadError], args: tuple[Any, ...], state: Mapping[str, Any]) -> RandheadError:
    """A copy of an error, created without its constructor."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error
