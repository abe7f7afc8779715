"""Adds up the time of one kind of work that is done in several places."""

import time
from collections.abc import Callable
from types import TracebackType


class Stopwatch:
    """Runs while a ``with`` block of it does.

    Attributes:
        seconds: the time of all blocks so far.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = 0.0
        self._clock = clock
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = self._clock()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.seconds += self._clock() - self._began
