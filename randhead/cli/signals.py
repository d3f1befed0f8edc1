"""What SIGINT (Ctrl-C) and SIGTERM do: end a command at once or, if there is something to save, after saving it."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Ended(BaseException):
    """A signal ends the command: what is open is closed, fragments of files are swept up.

    Not KeyboardInterrupt: Typer catches that itself, and gives it an exit code that depends on its version.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.word = "interrupted" if number == signal.SIGINT else "terminated"
        self.exit_code = EXIT_CODES[signal.Signals(number)]


@contextmanager
def ending_at_once() -> Iterator[None]:
    """A context in which a signal raises Ended; the old handlers come back."""
    old = {number: signal.signal(number, _end) for number in EXIT_CODES}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended(number)


class GracefulStop:
    """A context in which a first signal asks the work to save and stop; a second SIGINT ends it at once.

    Calling it says whether a signal came.  The old handlers come back.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.received is not None

    @property
    def exit_code(self) -> int:
        """The exit code of the signal that came."""
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
        print("\nsaving before it ends; Ctrl-C again ends it at once", file=sys.stderr)
