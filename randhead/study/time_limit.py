"""The time that a worker has: it starts no run that would probably not finish."""

import contextlib
import time
from collections.abc import Callable, Iterator
from math import inf


class TimeLimit:
    """The time left, and whether it is enough for another run, judged by the longest so far.

    Args:
        minutes: the time from now on; None for no limit.
        clock: the time in seconds.
    """

    def __init__(self, minutes: float | None, *, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.end = inf if minutes is None else clock() + 60 * minutes
        self.longest = 0.0  # so that the first run is started in any case: a study goes on however short its parts

    def allows(self) -> bool:
        """Whether there is time for another run."""
        left = self.end - self.clock()
        return left > 0 and left >= self.longest

    def is_over(self) -> bool:
        """Whether the time is over."""
        return self.clock() > self.end

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """A context of one run, which is timed."""
        began = self.clock()
        try:
            yield
        finally:
            self.longest = max(self.longest, self.clock() - began)
