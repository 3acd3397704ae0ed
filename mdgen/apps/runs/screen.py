"""What a run says, on standard error."""

import logging
import re
import sys

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
        sys.stderr.write(self.format(record) + "\n")
        sys.stderr.flush()


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
