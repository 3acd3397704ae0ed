"""Files are written aside and renamed, so that a reader never meets half of one."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mdgen.errors import MdgenError


def write_aside(path: Path | str, content: bytes | Callable[[BinaryIO], None]) -> None:
    """Write a whole file: to a neighbour first, flushed to disk, then renamed over `path`.

    Args:
        path: the file; its folder is made if need be.
        content: the bytes, or a function that writes them to an open binary file.

    Raises:
        MdgenError: if the disk is full or the folder cannot be written; nothing is left behind then.
    """
    path = Path(path)
    with writable(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with open(aside, "wb") as file:
                if callable(content):
                    content(file)
                else:
                    file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)


@contextmanager
def writable(folder: Path | str) -> Iterator[None]:
    """Turn the failures of writing that a user can mend (full disk, no permission) into one sentence."""
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: "the disk is full; free some space",
            errno.EDQUOT: "the disk quota is used up; free some space",
            errno.EACCES: "it may not be written; choose another folder",
            errno.EROFS: "it is on a read-only disk; choose another folder",
            errno.ENOTDIR: "part of that path is a file; choose another folder",
        }
        if error.errno not in reasons:
            raise
        raise MdgenError(
            f"cannot write to {folder}: {reasons[error.errno]} and run the same command again to resume"
        ) from error
