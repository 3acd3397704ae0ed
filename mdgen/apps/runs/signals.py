"""Signals that end a run as Ctrl-C does, with its frames kept."""

import signal
from types import FrameType


def stop_on_signals() -> None:
    """Take SIGTERM and the loss of the terminal, SIGHUP, for Ctrl-C; a SIGHUP that is ignored (`nohup`) stays so."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    # The kernel and the shell may both send it: the second must not catch the run writing its frames.
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
