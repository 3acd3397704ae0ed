"""What a run says, on standard error, and results, on standard output; neither needs a reader.

A run goes on when its streams are closed, or their reader has gone: its folder holds the log.
"""

import logging
import os
import re
import sys
from contextlib import suppress
from typing import TextIO

from mdgen.errors import MdgenError

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    r"""Text whose signs that steer a terminal are spelled out, for names and values may come from a stranger's file.

    >>> print(harmless("a\x1b[2Jb"))
    a\x1b[2Jb
    """
    return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], text)


class HarmlessFormatter(logging.Formatter):
    """Formats records as `harmless` text."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line, or lines."""
        return harmless(super().format(record))


class _Screen(logging.Handler):
    """Writes to whatever standard error is at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except OSError:  # the reader or the terminal has gone, or the disk of the file is full
            _discard(sys.stderr)


def show_on_screen(prefix: str = "") -> None:
    """Show what the package logs.

    Args:
        prefix: text before each record, such as the name of one of several runs.
    """
    logger = logging.getLogger("mdgen")
    handlers = [each for each in logger.handlers if isinstance(each, _Screen)] or [_Screen()]
    handlers[0].setFormatter(HarmlessFormatter(f"{prefix.replace('%', '%%')}%(message)s"))
    logger.handlers[:] = [*(each for each in logger.handlers if each is not handlers[0]), handlers[0]]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def open_closed_streams() -> None:
    """Open standard streams that are closed on /dev/null, also for processes to come; no file may take their numbers.

    Call it before anything else opens a file.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it takes the lowest number that is free
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (until the process ends)


def show_result(text: str) -> None:
    """Write a result to standard output; a reader that has closed it, such as `head`, has read enough.

    Raises:
        MdgenError: if it cannot be written for another reason.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _discard(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise MdgenError(f"the result cannot be written ({error.strerror}); write it elsewhere") from error


def drop_unread() -> None:
    """Flush standard output, so that the interpreter does not fail to at its end; drop what nobody reads any more."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    """Lead a stream, and what it still holds, to /dev/null."""
    null = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError):  # of a stream that is no file
        os.dup2(null, stream.fileno())
    os.close(null)
