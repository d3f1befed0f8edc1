"""Handling of signals: they end a command at once, or after its work is saved.

SIGINT is Ctrl-C.  SIGHUP arrives when a terminal or a connection is closed, SIGUSR1 and SIGUSR2 from a batch system
before its time limit.  A handler sets a flag or raises an exception; it prints nothing, since the stream may be gone.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

import typer

from randhead.errors import StopRequested

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))  # Windows has two of them
EXIT_CODES = {number: 128 + number for number in SIGNALS}  # as a shell counts: 130 and 143 for the first two


class Ended(BaseException):
    """Raised by a signal to end the command: open files are closed, and temporary files are deleted.

    It is not a KeyboardInterrupt, since Typer catches that and gives it an exit code that depends on its version.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.word = "interrupted" if number == signal.SIGINT else "terminated"
        self.exit_code = EXIT_CODES[signal.Signals(number)]


@contextmanager
def ending_at_once() -> Iterator[None]:
    """A context in which a signal raises Ended; afterwards the old handlers are restored."""
    with handling(_end):
        yield


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """A context with a handler for all signals; SIGHUP stays ignored if it is (nohup)."""
    old = {number: signal.signal(number, handler) for number in SIGNALS if not _is_ignored(number)}
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before)


def leave(code: int) -> None:
    """End the process with an exit code; after SIGINT, die of it.

    A shell that runs the command in a loop or a script ends that too only if the command died of the signal.  It shows
    130 as its exit code.
    """
    if code == EXIT_CODES[signal.SIGINT] and os.name == "posix":
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    sys.exit(code)  # also if SIGINT is blocked


def _is_ignored(number: int) -> bool:
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) is signal.SIG_IGN


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended(number)


class GracefulStop:
    """A context in which a first signal asks the command to save and stop; a second SIGINT ends it at once.

    Calling the object tells whether a signal has arrived, and says once that the command is saving.  Afterwards the old
    handlers are restored, and a signal that nobody asked about is handled by them.

    Args:
        say: called with the message.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.received: signal.Signals | None = None
        self._heard = False

    def __call__(self) -> bool:
        """Whether to stop."""
        if self.received is not None and not self._heard:
            self._heard = True
            self.say("saving before the command ends; press Ctrl-C again to end it at once")
        return self._heard

    @property
    def exit_code(self) -> int:
        """The exit code for the signal that arrived."""
        return EXIT_CODES[self.received] if self.received else 0

    def __enter__(self) -> "GracefulStop":
        self._handling = handling(self._handle)
        self._handling.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._handling.__exit__(None, None, None)
        if kind is None and self.received is not None:
            signal.raise_signal(self.received)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise Ended(number)
        self.received = self.received or signal.Signals(number)


@contextmanager
def saving(say: Callable[[str], None], saved: str | None = None) -> Iterator[GracefulStop]:
    """A context in which a signal ends the command after what is finished is saved.

    Args:
        say: called with messages.
        saved: what is said at the end; without it, what the library says.
    """
    with GracefulStop(say) as should_stop:
        try:
            yield should_stop
        except StopRequested as stopped:
            say(saved or stopped.hint or "saved; the same command resumes from there")
            raise typer.Exit(should_stop.exit_code) from None
