"""A run's name before its lines on the screen, where several runs share it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("mdgen")


class NamedLines(logging.Formatter):
    """Another formatter's lines with a name before each.

    >>> record = logging.LogRecord("mdgen", logging.INFO, "", 0, "half done", None, None)
    >>> NamedLines("IPGD").format(record)
    'IPGD  half done'
    """

    def __init__(self, name: str, inner: logging.Formatter | None = None) -> None:
        super().__init__("%(message)s")
        self._name, self._inner = name, inner

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        text = super().format(record) if self._inner is None else self._inner.format(record)
        return "\n".join(f"{self._name}  {line}" if line else line for line in text.split("\n"))


@contextmanager
def named_lines(name: str) -> Iterator[None]:
    """Put a name before what is said meanwhile, where it is said now; files opened meanwhile go without."""
    before = [(handler, handler.formatter) for handler in logger.handlers]
    for handler, formatter in before:
        handler.setFormatter(NamedLines(name, formatter))
    try:
        yield
    finally:
        for handler, formatter in before:
            handler.setFormatter(formatter)
