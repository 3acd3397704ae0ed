"""Signals that end a run as Ctrl-C does, with its frames kept."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Take SIGTERM and the loss of the terminal, SIGHUP, for Ctrl-C; a SIGHUP that is ignored (`nohup`) stays so."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if before[signal.SIGHUP] is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _stop(number: int, frame: FrameType | None) -> None:
    # The kernel and the shell may both send it: the second must not catch the run writing its frames.
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
