"""XTC files: an index of all frames made by walking their headers, so that damage is found before anything is computed.

Each frame says how long it is. The walk therefore knows whether the file ends inside a frame, where damage begins, and
the time of every frame; mdtraj does the decompression.
"""

import mmap
import os
import struct
from pathlib import Path

import numpy as np
from jaxtyping import Float
from mdtraj.formats import XTCTrajectoryFile

from mdgen.data.formats.cells import boxes
from mdgen.data.sources import Source
from mdgen.data.spacing import spacing_of
from mdgen.errors import MdgenError

_MAGIC = 1995
_FEW_ATOMS = 9  # up to here GROMACS writes plain floats


class XtcSource(Source):
    """The frames of an XTC file.

    Raises:
        MdgenError: if the file is no XTC file, ends inside a frame, is damaged, or its frames are not equally spaced.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        self.n_atoms, times, vectors = _walk(path)
        self._cells = boxes(vectors)
        self.n_frames = len(times)
        self.frame_spacing_ps = spacing_of(times, path)
        self._opened_by = 0

    def read(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame atom 3"]:
        """See `Source`; frames are damaged if they cannot be decompressed."""
        wanted = len(range(start, stop, stride))
        if not wanted:
            return np.empty((0, self.n_atoms, 3), np.float32)
        if self._opened is None or self._opened_by != os.getpid():
            # a forked worker shares the file's position with its parent, so it opens the file again
            self._opened, self._opened_by = XTCTrajectoryFile(self.name), os.getpid()
        try:
            self._opened.seek(start)
            read = self._opened.read(n_frames=wanted, stride=stride if stride > 1 else None)[0]
        except (RuntimeError, OSError) as error:
            self.close()
            raise MdgenError(f"{self.path} is damaged between frames {start} and {stop}; copy it again") from error
        if len(read) != wanted:
            raise MdgenError(f"{self.path} is damaged between frames {start} and {stop}; copy it again")
        return read

    def cells(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame 3 3"] | None:
        """See `Source`."""
        return None if self._cells is None else self._cells[start:stop:stride]


def _walk(path: Path) -> tuple[int, Float[np.ndarray, "frame"], Float[np.ndarray, "frame 3 3"]]:
    """Number of atoms, and of each frame the time in ps and the box vectors in nm."""
    if path.stat().st_size == 0:
        raise MdgenError(f"{path} is empty; give a whole xtc file")
    times: list[float] = []
    vectors: list[tuple[float, ...]] = []
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position, size, n_atoms = 0, len(data), None
        while position < size:
            end = _frame_end(data, position, size, n_atoms)
            if end is None and n_atoms is None:
                raise MdgenError(
                    f"{path} is no xtc file, or it is damaged or cut within its first frame; copy it again"
                )
            if end is None:
                raise MdgenError(f"{path} is damaged after {len(times)} whole frames; copy it again")
            if end > size:
                raise MdgenError(
                    f"{path} is truncated: it ends inside a frame, after {len(times)} whole frames; copy it again, or "
                    "cut it to whole frames"
                )
            n_atoms, _, time, *box = struct.unpack_from(">2if9f", data, position + 4)
            times.append(time)
            vectors.append(tuple(box))
            position = end
    assert n_atoms is not None
    return n_atoms, np.array(times), np.array(vectors, dtype=np.float32).reshape(-1, 3, 3)


def _frame_end(data: mmap.mmap, position: int, size: int, expected_atoms: int | None) -> int | None:
    """Where the frame at `position` ends, beyond `size` if it is cut short; None if no frame begins there."""
    if size - position < 12:
        return None if expected_atoms is None else size + 1
    magic, n_atoms = struct.unpack_from(">2i", data, position)
    if magic != _MAGIC or n_atoms < 1 or (expected_atoms is not None and n_atoms != expected_atoms):
        return None
    if n_atoms <= _FEW_ATOMS:
        return position + 56 + 12 * n_atoms
    if size - position < 92:
        return size + 1
    (n_bytes,) = struct.unpack_from(">i", data, position + 88)
    return position + 92 + 4 * -(-n_bytes // 4) if n_bytes >= 0 else None
