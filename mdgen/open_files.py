"""A bound on the files that a process has open: many systems allow it 1024."""

import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any


class OpenFiles:
    """Files in the order of their last use; where there are too many, the one not used for the longest time is closed.

    Owners are held weakly: what is gone needs no closing, and counts until it is the oldest.

    Args:
        most: files that stay open.
    """

    def __init__(self, most: int = 128) -> None:
        self.most = most
        self._used: OrderedDict[tuple[weakref.ref[Any], str], Callable[[Any], object]] = OrderedDict()

    def use(self, owner: Any, name: str, close: Callable[[Any], object]) -> None:
        """Note that a file is used.

        Args:
            owner: object that opens it again when it is needed.
            name: name of the file among those of its owner.
            close: what closes it, called with the owner; it must not hold the owner itself.
        """
        key = (weakref.ref(owner), name)
        self._used[key] = close
        self._used.move_to_end(key)
        if len(self._used) > self.most:
            (oldest, _), close = self._used.popitem(last=False)
            if (found := oldest()) is not None:
                close(found)
