"""Where one trajectory comes from: a file, a store or an array, read in slices."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

import mdtraj
import numpy as np
import tables
from jaxtyping import Float

from mdgen.data.dcd import DcdSource
from mdgen.data.spacing import spacing_of
from mdgen.data.store import TrajectoryStore
from mdgen.data.xtc import XtcSource
from mdgen.errors import MdgenError


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
    """A trajectory in memory, or memory-mapped."""

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


class H5Source:
    """The frames of an mdtraj HDF5 file.

    Raises:
        MdgenError: if the file is damaged or holds no coordinates.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        with self._opened() as root:
            shape = root.coordinates.shape
            times = np.asarray(root.time[:], dtype=np.float64) if "time" in root else np.zeros(0)
        if len(shape) != 3 or shape[2] != 3:
            raise MdgenError(f"{path} holds coordinates of shape {shape}; (frame, atom, 3) is needed")
        self.n_frames, self.n_atoms = int(shape[0]), int(shape[1])
        self.frame_spacing_ps = spacing_of(times, path)

    def read(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame atom 3"]:
        """Frames `start:stop:stride` in nm."""
        with self._opened() as root:
            return np.asarray(root.coordinates[start:stop:stride], dtype=np.float32)

    def close(self) -> None:
        """Nothing stays open: unlike an xtc file, this one is opened in no time."""

    @contextmanager
    def _opened(self) -> Iterator[tables.Group]:
        try:
            with tables.open_file(self.name) as file:
                yield file.root
        except (tables.HDF5ExtError, tables.NoSuchNodeError, OSError) as error:
            raise MdgenError(f"{self.path} is truncated, or no h5 trajectory of mdtraj's; copy it again") from error


def file_sources(path: Path) -> list[Source]:
    """The trajectories of a file: one, but for a npy array of several.

    Raises:
        MdgenError: if the file is damaged or of a kind that is not read.
    """
    kind = path.suffix.lower()
    if kind == ".xtc":
        return [XtcSource(path)]
    if kind == ".dcd":
        return [DcdSource(path)]
    if kind in (".h5", ".hdf5"):
        return [H5Source(path)]
    if kind == ".pdb":
        return [ArraySource(str(path), _pdb_positions(path))]
    if kind == ".npy":
        return _npy_sources(path)
    raise MdgenError(
        f"{path} is of a kind that is not read; convert it to xtc, dcd, h5, pdb or npy (mdconvert does so)"
    )


def _pdb_positions(path: Path) -> Float[np.ndarray, "frame atom 3"]:
    try:
        return mdtraj.load_pdb(str(path)).xyz
    except Exception as error:  # mdtraj's parser raises whatever the broken line happens to cause
        reason = " ".join(str(error).split())[:200]
        raise MdgenError(f"cannot read frames from {path} ({reason}); give a whole pdb file") from error


def _npy_sources(path: Path) -> list[Source]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MdgenError(f"{path} is truncated, or no npy file of numbers ({error}); write it again") from error
    if array.ndim not in (3, 4) or array.shape[-1] != 3 or array.dtype.kind != "f":
        raise MdgenError(
            f"{path} holds an array of {array.dtype} of shape {array.shape}; (frame, atom, 3) or (trajectory, frame, "
            "atom, 3) in nm is needed"
        )
    if array.ndim == 3:
        return [ArraySource(str(path), array)]
    return [ArraySource(f"{path}[{i}]", trajectory) for i, trajectory in enumerate(array)]
