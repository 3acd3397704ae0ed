"""Numpy arrays of positions in nm, memory-mapped: (frame, atom, 3) or (trajectory, frame, atom, 3)."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from mdgen.data.formats.mapped_array import mapped_array
from mdgen.data.manifest import MOST_TRAJECTORIES
from mdgen.data.sources import Source
from mdgen.errors import MdgenError


class NpySource(Source):
    """One trajectory of a npy file.

    Args:
        path: npy file.
        trajectory: number of the trajectory in an array of several; None for an array of one.
        positions: array of this trajectory, of which the shape is kept; it is mapped again when it is read.
    """

    def __init__(self, path: Path, trajectory: int | None, positions: Float[np.ndarray, "frame atom 3"]) -> None:
        self.name = str(path) if trajectory is None else f"{path}[{trajectory}]"
        self.n_frames, self.n_atoms = positions.shape[:2]
        self._path, self._trajectory = path, trajectory

    def read(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame atom 3"]:
        """See `Source`."""
        if self._opened is None:
            array = mapped_array(self._path, "write it again")
            self._opened = array if self._trajectory is None else array[self._trajectory]
        return np.asarray(self._opened[start:stop:stride], dtype=np.float32)


def npy_sources(path: Path) -> list[NpySource]:
    """The trajectories of a npy file.

    Raises:
        MdgenError: if it is damaged, or holds no positions.
    """
    array = mapped_array(path, "write it again")
    if array.ndim not in (3, 4) or array.shape[-1] != 3 or array.dtype.kind != "f":
        raise MdgenError(
            f"{path} holds an array of {array.dtype} of shape {array.shape}; (frame, atom, 3) or (trajectory, frame, "
            "atom, 3) in nm is needed"
        )
    if array.ndim == 3:
        return [NpySource(path, None, array)]
    if len(array) > MOST_TRAJECTORIES:
        raise MdgenError(f"{path} claims {len(array)} trajectories; at most {MOST_TRAJECTORIES} are read from one file")
    return [NpySource(path, number, trajectory) for number, trajectory in enumerate(array)]
