"""When simulated hospitals were computing: what remains of a round is the engine's own time."""

import threading


class BusyLog:
    """Spans of work, noted by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[tuple[float, float]] = []

    def note(self, began: float, ended: float) -> None:
        """One hospital computed from ``began`` to ``ended`` (monotonic seconds)."""
        with self._lock:
            self._spans.append((began, ended))

    def busy_s(self, start: float, end: float) -> float:
        """Seconds of [start, end] in which at least one hospital was computing."""
        with self._lock:
            spans = sorted((max(a, start), min(b, end)) for a, b in self._spans)
        total, reached = 0.0, start
        for began, ended in spans:
            if ended > reached:
                total += ended - max(began, reached)
                reached = ended
        return total
