"""The mistakes randhead reports: one line that says what is wrong and where, one that says what to do next.

Each kind carries the exit code of the command line (2 usage or config, 3 data, 4 checkpoint or run folder, 5 diverged).
Anything else that escapes is a bug of ours and exits with 1.
"""

import difflib
from collections.abc import Callable, Iterable

MOST_LISTED = 40  # names; timm has 1,300 models


class RandheadError(Exception):
    """A mistake that the reader can mend: `message` says what and where, `hint` what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(RandheadError):
    """A command, option or configuration value that cannot be used."""

    exit_code = 2


class DataError(RandheadError):
    """Images, labels or a data folder that cannot be used."""

    exit_code = 3


class RunError(RandheadError):
    """A run folder or checkpoint that is missing, damaged or of another kind."""

    exit_code = 4


class DivergedError(RandheadError):
    """Training met a loss that is not a finite number."""

    exit_code = 5


class StopRequested(RandheadError):
    """The caller's `stop` answered yes, between two batches."""

    exit_code = 130


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not among `known`: it names the nearest, and lists all, or of very many a few."""
    known = sorted(known)
    listed = known if len(known) <= MOST_LISTED else difflib.get_close_matches(name, known, n=5) or known[:5]
    more = f" and {len(known) - len(listed):,} more" if len(known) > len(listed) else ""
    return UsageError(f"unknown {kind} {name!r}", hint=f"{guess(name, known)}known: {', '.join(listed)}{more}")


def guess(name: str, known: Iterable[str], *, show: Callable[[str], str] = str) -> str:
    """The beginning of a hint that names the nearest of `known`, as `show` writes it; nothing where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {show(near[0])!r}? " if near else ""
