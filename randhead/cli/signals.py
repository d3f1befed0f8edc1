"""Handling of SIGINT (Ctrl-C) and SIGTERM: they end a command at once, or after its work is saved."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


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
    old = {number: signal.signal(number, _end) for number in EXIT_CODES}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended(number)


class GracefulStop:
    """A context in which a first signal asks the command to save and stop; a second SIGINT ends it at once.

    Calling the object tells whether a signal has arrived.  Afterwards the old handlers are restored.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.received is not None

    @property
    def exit_code(self) -> int:
        """The exit code for the signal that arrived."""
        return EXIT_CODES[self.received] if self.received else 0

    def __enter__(self) -> "GracefulStop":
        self._old = {number: signal.signal(number, self._handle) for number in EXIT_CODES}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise Ended(number)
        self.received = signal.Signals(number)
        print("\nsaving before the command ends; press Ctrl-C again to end it at once", file=sys.stderr)
