"""Numpy arrays of positions in nm, memory-mapped: (frame, atom, 3) or (trajectory, frame, atom, 3)."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mdgen.errors import MdgenError


class NpySource:
    """One trajectory of a npy file.

    Args:
        path: npy file.
        trajectory: number of the trajectory in an array of several; None for an array of one.
        positions: mapped array of this trajectory.
    """

    frame_spacing_ps: float | None = None

    def __init__(self, path: Path, trajectory: int | None, positions: Float[np.ndarray, "frame atom 3"]) -> None:
        self.name = str(path) if trajectory is None else f"{path}[{trajectory}]"
        self.n_frames, self.n_atoms = positions.shape[:2]
        self._path, self._trajectory = path, trajectory
        self._positions: np.ndarray | None = positions

    def read(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame atom 3"]:
        """Frames `start:stop:stride` in nm."""
        if self._positions is None:
            array = _mapped(self._path)
            self._positions = array if self._trajectory is None else array[self._trajectory]
        return np.asarray(self._positions[start:stop:stride], dtype=np.float32)

    def close(self) -> None:
        """Nothing stays open: the file is mapped."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_positions": None}  # mapped again by the process that reads it


def npy_sources(path: Path) -> list[NpySource]:
    """The trajectories of a npy file.

    Raises:
        MdgenError: if it is damaged, or holds no positions.
    """
    array = _mapped(path)
    if array.ndim not in (3, 4) or array.shape[-1] != 3 or array.dtype.kind != "f":
        raise MdgenError(
            f"{path} holds an array of {array.dtype} of shape {array.shape}; (frame, atom, 3) or (trajectory, frame, "
            "atom, 3) in nm is needed"
        )
    if array.ndim == 3:
        return [NpySource(path, None, array)]
    return [NpySource(path, number, trajectory) for number, trajectory in enumerate(array)]


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MdgenError(f"{path} is truncated, or no npy file of numbers ({error}); write it again") from error
