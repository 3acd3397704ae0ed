"""Atomic writing: a temporary file is written and renamed, so that a reader never sees a partial file."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mdgen.errors import MdgenError

MARK = "DONE"
"""File in the folder of a run that has ended well."""


def write_aside(path: Path | str, content: bytes | Callable[[BinaryIO], None]) -> None:
    """Write a file atomically: to a temporary file beside it, flushed to disk, then renamed to `path`.

    Args:
        path: file to write; its folder is created if missing.
        content: content, or a function that writes it to an open binary file.

    Raises:
        MdgenError: if the disk is full or the folder cannot be written; nothing is left behind.
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
    """Report failures of writing that a user can resolve (full disk, no permission) as an `MdgenError`."""
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: "the disk is full; free some space",
            errno.EDQUOT: "the disk quota is used up; free some space",
            errno.EACCES: "it may not be written; choose another folder",
            errno.EROFS: "it is on a read-only disk; choose another folder",
            errno.ENOTDIR: "part of that path is a file; choose another folder",
            errno.ENAMETOOLONG: "a name of that path is too long; choose a shorter one",
            errno.EINVAL: "that path is no name of a file; choose another",
        }
        if error.errno not in reasons:
            raise
        raise MdgenError(
            f"cannot write to {folder}: {reasons[error.errno]} and run the same command again to resume"
        ) from error
