"""One writer a folder: an advisory lock that the system itself gives back when its holder dies."""

import fcntl
import os
from io import FileIO
from pathlib import Path

from mdgen.errors import MdgenError
from mdgen.files import writable


class FolderLock:
    """The right to write into a folder, held through an open `lock` file that names the holder's process.

    The kernel drops the lock when the holder ends, even by `kill -9`; a lock file left behind is simply taken over.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: FileIO | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._file is not None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            MdgenError: if another holder writes into the folder.
        """
        if self._file is not None:
            return
        with writable(self.folder):
            file = open(self.folder / "lock", "a+b", buffering=0)  # noqa: SIM115  held open until `release`
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.truncate(0)
                file.write(str(os.getpid()).encode())
            except OSError as error:
                with file:
                    if not isinstance(error, BlockingIOError):
                        raise
                    file.seek(0)
                    holder = file.read().decode(errors="replace") or "unknown"
                raise MdgenError(
                    f"{self.folder} is in use: process {holder} writes into it; wait for it to end, or name another "
                    "folder"
                ) from None
        self._file = file

    def release(self) -> None:
        """Give the lock back; does nothing where it is not held."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None
