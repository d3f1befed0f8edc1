"""A first SIGINT or SIGTERM asks the work to save and stop; a second SIGINT ends it at once."""

import signal
import sys
from types import FrameType, TracebackType

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class GracefulStop:
    """A context in which signals are remembered.  Calling it says whether one came; the old handlers come back."""

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
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        print("\nsaving before it ends; Ctrl-C again ends it at once", file=sys.stderr)
