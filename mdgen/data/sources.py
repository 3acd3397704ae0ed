"""Where one trajectory is read from: the seam of all file formats, stores and arrays in memory."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from jaxtyping import Float

from mdgen.data.store import TrajectoryStore


class Source(ABC):
    """One trajectory that is read in slices.

    A format sets the attributes below, keeps what it has open in `_opened`, and opens it again where that is None.
    """

    name: str
    n_frames: int
    n_atoms: int
    frame_spacing_ps: float | None = None
    spacing_hint_ps: float | None = None
    """What a header suggests that cannot be relied on."""
    temperature_K: float | None = None
    _opened: Any = None

    @abstractmethod
    def read(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame atom 3"]:
        """Frames `start:stop:stride` in nm, with 0 <= start, stop <= n_frames.

        Raises:
            MdgenError: if they are damaged.
        """

    def cells(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame 3 3"] | None:
        """Box vectors (rows, nm) of the same frames; None without a periodic box."""
        return None

    def close(self) -> None:
        """Close what is open until the next read."""
        self._opened = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}  # opened again by the process that reads it


class ArraySource(Source):
    """A trajectory in memory."""

    def __init__(
        self,
        name: str,
        positions: Float[np.ndarray, "frame atom 3"],
        temperature_K: float | None = None,
        cells: Float[np.ndarray, "frame 3 3"] | None = None,
    ) -> None:
        self.name, self.temperature_K = name, temperature_K
        self.n_frames, self.n_atoms = positions.shape[:2]
        self._positions, self._cells = positions, cells

    def read(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame atom 3"]:
        """See `Source`."""
        return np.asarray(self._positions[start:stop:stride], dtype=np.float32)

    def cells(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame 3 3"] | None:
        """See `Source`."""
        return None if self._cells is None else self._cells[start:stop:stride]


class StoreSource(Source):
    """One trajectory of a store, as far as it went when the store was opened."""

    def __init__(self, store: TrajectoryStore, trajectory: int) -> None:
        self.name = f"{store.path}[{trajectory}]"
        self.n_frames, self.n_atoms = store.lengths[trajectory], store.molecule.n_atoms
        self.frame_spacing_ps, self.temperature_K = store.frame_spacing_ps, store.temperatures_K[trajectory]
        self._store, self._trajectory = store, trajectory

    def read(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame atom 3"]:
        """See `Source`."""
        return self._store.positions(self._trajectory, start, stop, stride)

    def cells(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame 3 3"] | None:
        """See `Source`."""
        return self._store.cells(self._trajectory, start, stop, stride)


class SliceSource(Source):
    """Frames `start` to `stop` (not included) of another source."""

    def __init__(self, whole: Source, start: int, stop: int) -> None:
        self.name = f"{whole.name} frames {start} to {stop}"
        self.n_frames, self.n_atoms = stop - start, whole.n_atoms
        self.frame_spacing_ps, self.temperature_K = whole.frame_spacing_ps, whole.temperature_K
        self._whole, self._start = whole, start

    def read(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame atom 3"]:
        """Frames `start:stop:stride` of the slice."""
        return self._whole.read(self._start + start, self._start + stop, stride)

    def cells(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame 3 3"] | None:
        """Box vectors of the same frames."""
        return self._whole.cells(self._start + start, self._start + stop, stride)

    def close(self) -> None:
        """Close what the other source has open."""
        self._whole.close()
