"""Progress of long computations, as single lines through `logging`, for screens and files alike."""

import logging
import time

logger = logging.getLogger("mdgen")


class Progress:
    """Logs the progress of a long computation, at most once every `interval_s` seconds.

    >>> from mdgen.progress import Progress
    >>> progress = Progress("simulate", total=100, interval_s=0)
    >>> progress.update(50, ns_per_day=1200.0)
    """

    def __init__(self, label: str, total: float, done: float = 0, interval_s: float = 5.0) -> None:
        self.label, self.total, self.interval_s = label, total, interval_s
        self._first = done
        self._start = self._last = time.monotonic()

    def update(self, done: float, **figures: float | str) -> None:
        """Log that `done` of `total` is done, with further `figures` such as a loss or a speed."""
        now = time.monotonic()
        if now - self._last < self.interval_s and done < self.total:
            return
        self._last = now
        share = done / self.total if self.total else 1.0
        elapsed = now - self._start
        left = elapsed * (self.total - done) / (done - self._first) if done > self._first else float("nan")
        shown = "  ".join(
            f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
            for name, value in figures.items()
        )
        logger.info("%-12s %5.1f %%  %s  left %s", self.label, 100 * share, shown, duration(left))


def duration(seconds: float) -> str:
    """A duration in words.

    >>> duration(75), duration(4000)
    ('1 min 15 s', '1 h 06 min')
    """
    if seconds != seconds:
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
