"""What a run says, on standard error."""

import logging
import sys


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
    handlers[0].setFormatter(logging.Formatter(f"{prefix.replace('%', '%%')}%(message)s"))
    logger.handlers[:] = [*(each for each in logger.handlers if each is not handlers[0]), handlers[0]]
    logger.setLevel(logging.INFO)
    logger.propagate = False
