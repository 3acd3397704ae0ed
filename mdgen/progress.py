"""Progress of long computations, as single lines through `logging`, for screens and files alike."""

import logging
import time

logger = logging.getLogger("mdgen")


class Progress:
    """Logs the progress of a long computation, at most once every `interval_s` seconds.

    >>> from mdgen.progress import Progress
    >>> progress = Progress("simulate", total=100, interval_s=0)
    >>> progress.update(50, loss=0.25)
    """

    def __init__(self, label: str, total: float, done: float = 0, interval_s: float = 5.0) -> None:
        self.label, self.total, self.interval_s = label, total, interval_s
        self.restart(done)

    def restart(self, done: float) -> None:
        """Measure speed and time left from here on: what came before, such as a compiler, says nothing of them."""
        self._first = done
        self._start = self._last = time.monotonic()

    def rate(self, done: float) -> float:
        """What is done in a second, now that `done` is; NaN where nothing was done since the start."""
        elapsed = time.monotonic() - self._start
        return (done - self._first) / elapsed if done > self._first and elapsed > 0 else float("nan")

    def update(self, done: float, **figures: float | str) -> None:
        """Log that `done` of `total` is done, with further `figures` such as a loss or a speed."""
        now = time.monotonic()
        if now - self._last < self.interval_s and done < self.total:
            return
        self._last = now
        share = done / self.total if self.total else 1.0
        shown = "  ".join(
            f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
            for name, value in figures.items()
        )
        left = duration((self.total - done) / self.rate(done)) if done < self.total else "nothing"
        said = "  ".join(filter(None, (f"{100 * share:5.1f} %", shown, f"left {left}")))
        logger.info("%-12s %s", self.label, said)


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


def simulated(nanoseconds: float) -> str:
    """A length of simulated time in words, to three digits.

    >>> simulated(44613.7), simulated(704.0), simulated(0.0025), simulated(1.5e7)
    ('44.6 us', '704 ns', '2.5 ps', '15 ms')
    """
    if nanoseconds != nanoseconds:
        return "unknown"
    units = (("ms", 1e6), ("us", 1e3), ("ns", 1.0), ("ps", 1e-3))
    name, size = next((unit for unit in units if nanoseconds >= 0.9995 * unit[1]), units[-1])
    return f"{nanoseconds / size:.3g} {name}"
