"""Arrays of positions in nm that are read in slices: (frame, atom, 3) or (trajectory, frame, atom, 3)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mdgen.data.manifest import MOST_TRAJECTORIES
from mdgen.data.sources import Source
from mdgen.errors import MdgenError

OpenArray = Callable[[Path], Any]
"""Opens the array of a path, which has a shape and a dtype and is read by indexing: mapped from npy, or of zarr."""


class ArrayFileSource(Source):
    """One trajectory of an array on disk.

    Args:
        path: file or folder of the array.
        trajectory: number of the trajectory in an array of several; None for an array of one.
        shape: shape of the whole array.
        open_array: what opens it, again where it was closed.
    """

    def __init__(self, path: Path, trajectory: int | None, shape: tuple[int, ...], open_array: OpenArray) -> None:
        self.name = str(path) if trajectory is None else f"{path}[{trajectory}]"
        self.n_frames, self.n_atoms = shape[-3:-1]
        self._path, self._trajectory, self._open = path, trajectory, open_array

    def read(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame atom 3"]:
        """See `Source`."""
        if self._opened is None:
            self._opened = self._open(self._path)
        frames = slice(start, stop, stride)
        try:
            read = self._opened[frames if self._trajectory is None else (self._trajectory, frames)]
            return np.asarray(read, dtype=np.float32)
        except Exception as error:  # codecs raise whatever a damaged chunk happens to cause
            reason = " ".join(str(error).split())[:160]
            raise MdgenError(f"{self.name} is damaged ({reason}); write it again") from error


def array_sources(path: Path, open_array: OpenArray) -> list[ArrayFileSource]:
    """The trajectories of an array on disk.

    Raises:
        MdgenError: if it is damaged, or holds no positions.
    """
    array = open_array(path)
    shape = tuple(array.shape)
    if len(shape) not in (3, 4) or shape[-1] != 3 or array.dtype.kind != "f":
        raise MdgenError(
            f"{path} holds an array of {array.dtype} of shape {shape}; (frame, atom, 3) or (trajectory, frame, "
            "atom, 3) in nm is needed"
        )
    if len(shape) == 3:
        return [ArrayFileSource(path, None, shape, open_array)]
    if shape[0] > MOST_TRAJECTORIES:
        raise MdgenError(f"{path} claims {shape[0]} trajectories; at most {MOST_TRAJECTORIES} are read from one file")
    return [ArrayFileSource(path, number, shape, open_array) for number in range(shape[0])]
