"""Where one trajectory is read from: the seam of all file formats, stores and arrays in memory."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from mdgen.data.store import TrajectoryStore


@runtime_checkable
class Source(Protocol):
    """One trajectory that is read in slices; positions in nm."""

    name: str
    n_frames: int
    n_atoms: int
    frame_spacing_ps: float | None

    def read(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame atom 3"]:
        """Frames `start:stop:stride`, with 0 <= start, stop <= n_frames."""
        ...

    def close(self) -> None:
        """Close what is open until the next read."""
        ...


class ArraySource:
    """A trajectory in memory."""

    def __init__(
        self, name: str, positions: Float[np.ndarray, "frame atom 3"], frame_spacing_ps: float | None = None
    ) -> None:
        self.name, self.frame_spacing_ps = name, frame_spacing_ps
        self.n_frames, self.n_atoms = positions.shape[:2]
        self._positions = positions

    def read(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame atom 3"]:
        """Frames `start:stop:stride` in nm."""
        return np.asarray(self._positions[start:stop:stride], dtype=np.float32)

    def close(self) -> None:
        """Nothing is open."""


class StoreSource:
    """One trajectory of a store, as far as it went when the store was opened."""

    def __init__(self, store: TrajectoryStore, trajectory: int) -> None:
        self.name = f"{store.path}[{trajectory}]"
        self.n_frames, self.n_atoms = store.lengths[trajectory], store.molecule.n_atoms
        self.frame_spacing_ps: float | None = store.frame_spacing_ps
        self._store, self._trajectory = store, trajectory

    def read(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame atom 3"]:
        """Frames `start:stop:stride` in nm."""
        return self._store.positions(self._trajectory, start, stop, stride)

    def close(self) -> None:
        """The store keeps its few mapped files."""


class SliceSource:
    """Frames `start` to `stop` (not included) of another source."""

    def __init__(self, whole: Source, start: int, stop: int) -> None:
        self.name = f"{whole.name} frames {start} to {stop}"
        self.n_frames, self.n_atoms = stop - start, whole.n_atoms
        self.frame_spacing_ps = whole.frame_spacing_ps
        self._whole, self._start = whole, start

    def read(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame atom 3"]:
        """Frames `start:stop:stride` of the slice."""
        return self._whole.read(self._start + start, self._start + stop, stride)

    def close(self) -> None:
        """Close what the other source has open."""
        self._whole.close()
