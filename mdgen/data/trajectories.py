"""A set of trajectories of one molecule at one frame spacing, read lazily, whatever files they lie in."""

import glob
import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import mdtraj
import numpy as np
from jaxtyping import Float, Int

from mdgen.data.finite import require_finite
from mdgen.data.formats.reading import file_sources
from mdgen.data.formats.writing import write_trajectory
from mdgen.data.formats.zarr_array import is_zarr
from mdgen.data.sources import ArraySource, Source, StoreSource
from mdgen.data.spacing import common_spacing
from mdgen.data.store import TrajectoryStore, is_store
from mdgen.errors import MdgenError
from mdgen.files import MARK
from mdgen.molecule.topology import Molecule
from mdgen.open_files import OpenFiles

__all__ = ["STORE", "TrajectorySet", "open_trajectories", "write_trajectory"]

STORE = "trajectories"
"""The store within the run folder of a simulation or a generation."""

_SELF_DESCRIBED = (".h5", ".hdf5", ".pdb")
_opened = OpenFiles()
"""Sources of all sets of the process."""
_LONG_BOND_NM = 0.3
_SAME_TEMPERATURE_K = 1e-3

logger = logging.getLogger("mdgen")


class TrajectorySet:
    """Trajectories of one molecule; nothing is read before it is asked for.

    Args:
        molecule: molecule of every frame.
        frame_spacing_ps: time between two frames of every trajectory.
        sources: source of each trajectory.
    """

    def __init__(self, molecule: Molecule, frame_spacing_ps: float, sources: Sequence[Source]) -> None:
        for source in sources:
            if source.n_atoms != molecule.n_atoms:
                raise MdgenError(
                    f"{source.name} has {source.n_atoms} atoms and the topology {molecule.n_atoms}; give the topology "
                    "that belongs to it"
                )
            if source.n_frames == 0:
                raise MdgenError(f"{source.name} holds no frames; leave it out")
        self.molecule = molecule
        self.frame_spacing_ps = frame_spacing_ps
        self._sources = tuple(sources)

    @classmethod
    def from_arrays(
        cls,
        molecule: Molecule,
        frame_spacing_ps: float,
        arrays: Sequence[Float[np.ndarray, "_frame atom 3"]],
        names: Sequence[str] | None = None,
        temperature_K: float | None = None,
    ) -> "TrajectorySet":
        """A set of trajectories held in memory, in nm."""
        labels = names or [f"array {index}" for index in range(len(arrays))]
        sources = [ArraySource(name, array, temperature_K) for name, array in zip(labels, arrays, strict=True)]
        return cls(molecule, frame_spacing_ps, sources)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Frames of each trajectory."""
        return tuple(source.n_frames for source in self._sources)

    @property
    def n_frames(self) -> int:
        """Frames of all trajectories together."""
        return sum(self.lengths)

    @cached_property
    def temperatures_K(self) -> tuple[float | None, ...]:
        """Temperature of each trajectory; None where it is not known."""
        return tuple(source.temperature_K for source in self._sources)

    @property
    def temperature_K(self) -> float | None:
        """The one temperature of all trajectories; None where it is not known of each.

        Raises:
            MdgenError: if they were made at different temperatures.
        """
        known = [(t, name) for t, name in zip(self.temperatures_K, self.names, strict=True) if t is not None]
        for temperature, name in known:
            if abs(temperature - known[0][0]) > _SAME_TEMPERATURE_K:
                raise MdgenError(
                    f"{known[0][1]} is at {known[0][0]:g} K and {name} at {temperature:g} K, where one temperature is "
                    "needed; name trajectories of one temperature"
                )
        return known[0][0] if known and len(known) == len(self) else None

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each trajectory in messages: its file, or its store and number."""
        return tuple(source.name for source in self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def __repr__(self) -> str:
        frames = f"{self.n_frames} frames {self.frame_spacing_ps:g} ps apart"
        return f"TrajectorySet({len(self)} of {self.molecule!r}, {frames})"

    def positions(
        self, trajectory: int, start: int = 0, stop: int | None = None, stride: int = 1
    ) -> Float[np.ndarray, "frame atom 3"]:
        """Frames `start:stop:stride` of one trajectory in nm, float32; they may be a read-only view of a file.

        Raises:
            MdgenError: if they cannot be read, or hold a coordinate that is not finite.
        """
        if stride < 1:
            raise MdgenError(f"a stride of {stride} frames cannot be read; it must be at least 1")
        source = self.source(trajectory)
        start, stop, _ = slice(start, stop).indices(source.n_frames)
        read = source.read(start, max(start, stop), stride)
        require_finite(
            read,
            lambda index: f"frame {start + stride * index[0]} of {source.name}",
            "leave that trajectory out, or cut it before that frame",
        )
        return read

    def frames(self, numbers: Sequence[int] | Int[np.ndarray, "frame"]) -> Float[np.ndarray, "frame atom 3"]:
        """Frames in nm by their number among those of all trajectories, one after the other.

        Raises:
            MdgenError: as `positions`.
        """
        ends = np.cumsum(self.lengths)
        trajectories = np.searchsorted(ends, numbers, side="right")
        within = np.asarray(numbers) - (ends - self.lengths)[trajectories]
        places = zip(trajectories.tolist(), within.tolist(), strict=True)
        return np.concatenate([self.positions(trajectory, frame, frame + 1) for trajectory, frame in places])

    def cells(
        self, trajectory: int, start: int = 0, stop: int | None = None, stride: int = 1
    ) -> Float[np.ndarray, "frame 3 3"] | None:
        """Box vectors (rows, nm) of frames `start:stop:stride` of one trajectory; None without a periodic box."""
        source = self.source(trajectory)
        start, stop, _ = slice(start, stop).indices(source.n_frames)
        return source.cells(start, max(start, stop), stride)

    def blocks(self, trajectory: int, frames: int) -> Iterator[Float[np.ndarray, "frame atom 3"]]:
        """One trajectory in consecutive blocks of at most `frames` frames."""
        for start in range(0, self.lengths[trajectory], frames):
            yield self.positions(trajectory, start, start + frames)

    def select(self, indices: Sequence[int]) -> "TrajectorySet":
        """Some of the trajectories, in the order given."""
        return TrajectorySet(self.molecule, self.frame_spacing_ps, [self._sources[index] for index in indices])

    def trajectory(self, index: int, start: int = 0, stop: int | None = None, stride: int = 1) -> mdtraj.Trajectory:
        """One trajectory, or a slice of it, as an mdtraj object."""
        positions = np.array(self.positions(index, start, stop, stride))
        first, _, _ = slice(start, stop).indices(self.lengths[index])
        time = (first + stride * np.arange(len(positions))) * self.frame_spacing_ps
        made = mdtraj.Trajectory(positions, self.molecule.topology, time=time)
        cells = self.cells(index, start, stop, stride)
        if cells is not None:
            made.unitcell_vectors = cells
        return made

    def __getitem__(self, key: int | slice | tuple[int, int | slice]) -> "mdtraj.Trajectory | TrajectorySet":
        """One trajectory by its number, `set[3]`; frames of one, `set[3, 100:200]`; a set of some, `set[:5]`."""
        if isinstance(key, slice):
            return self.select(range(len(self))[key])
        index, frames = key if isinstance(key, tuple) else (key, slice(None))
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are trajectories 0 to {len(self) - 1}; there is no {index}")
        chosen = range(self.lengths[index])[frames]
        if isinstance(chosen, int):
            return self.trajectory(index, chosen, chosen + 1)
        return self.trajectory(index, chosen.start, max(chosen.start, chosen.stop), chosen.step)

    def __iter__(self) -> Iterator[mdtraj.Trajectory]:
        """Every trajectory in turn, as mdtraj; one is in memory at a time."""
        return (self.trajectory(index) for index in range(len(self)))

    def verify(self) -> None:
        """Compare every store with its checksums, once; files of other programs have none.

        Raises:
            MdgenError: naming the first file that is not as it was written.
        """
        for source in self._sources:
            source.verify()

    def source(self, trajectory: int) -> Source:
        """The source of one trajectory."""
        if not -len(self) <= trajectory < len(self):
            raise MdgenError(f"there are trajectories 0 to {len(self) - 1}; there is no {trajectory}")
        source = self._sources[trajectory]
        _opened.use(source, "", lambda oldest: oldest.close())
        return source


def open_trajectories(
    paths: str | Path | Sequence[str | Path],
    topology: str | Path | Molecule | None = None,
    frame_spacing_ps: float | None = None,
    temperature_K: float | None = None,
) -> TrajectorySet:
    """Open trajectories from files, stores and finished runs, together.

    Args:
        paths: path, glob such as `run-*.xtc`, or a list of them: folders of stores or runs, xtc, dcd, h5, pdb, npy
            and zarr (nm).
        topology: molecule, or the file that holds it; needed unless a store, h5 or pdb file is among `paths`.
        frame_spacing_ps: time between frames; needed where no file says so (dcd, pdb, npy, zarr).
        temperature_K: temperature of the trajectories that do not say theirs, which only stores do.

    Raises:
        MdgenError: if something is missing, damaged, or does not fit together.
    """
    found = _expanded([paths] if isinstance(paths, (str, Path)) else paths)
    molecule = Molecule.from_file(topology) if isinstance(topology, (str, Path)) else topology
    sources: list[Source] = []
    for path in found:
        if is_store(path):
            store = TrajectoryStore.open(path)
            molecule = molecule or store.molecule
            molecule.require_same(store.molecule, str(path))
            sources += [StoreSource(store, index) for index in _begun(store)]
        else:
            if path.suffix.lower() in _SELF_DESCRIBED:
                described = Molecule.from_file(path)
                molecule = molecule or described
                molecule.require_same(described, str(path))
            sources += file_sources(path)
    if molecule is None:
        raise MdgenError(
            f"{found[0]} does not say which molecule it holds; name its topology=FILE (pdb, prmtop, psf ...)"
        )
    known = {source.name: source.frame_spacing_ps for source in sources if source.frame_spacing_ps is not None}
    spacing = common_spacing(known, frame_spacing_ps)
    if spacing is None:
        hint = next((source.spacing_hint_ps for source in sources if source.spacing_hint_ps), None)
        suggestion = f" (its header suggests {hint:g})" if hint else ""
        raise MdgenError(
            f"{sources[0].name} does not say how far apart its frames are; give frame_spacing_ps{suggestion}"
        )
    if temperature_K is not None:
        _set_temperature(sources, temperature_K)
    opened = TrajectorySet(molecule, spacing, sources)
    _warn_of_long_bonds(opened)
    return opened


def _begun(store: TrajectoryStore) -> list[int]:
    """The trajectories of a store without those that ended before their first frame, which are warned of."""
    kept = [index for index, length in enumerate(store.lengths) if length > 0]
    if 0 < len(kept) < store.n_trajectories:
        shown = ", ".join(str(index) for index in range(store.n_trajectories) if index not in kept)
        logger.warning("%s: trajectories %s ended before their first frame and are left out", store.path, shown)
    return kept or list(range(store.n_trajectories))


def _set_temperature(sources: Sequence[Source], given_K: float) -> None:
    if not 0 < given_K < np.inf:
        raise MdgenError(f"temperature_K is {given_K}; it must be positive")
    for source in sources:
        if source.temperature_K is not None and abs(source.temperature_K - given_K) > _SAME_TEMPERATURE_K:
            raise MdgenError(
                f"temperature_K is {given_K:g}, but {source.name} was made at {source.temperature_K:g} K; leave it out"
            )
        source.temperature_K = given_K


def _warn_of_long_bonds(opened: TrajectorySet) -> None:
    """Atoms in another order than the topology's show at once; only a warning, for broken structures may be judged."""
    bonds = opened.molecule.bonds
    if not len(bonds):
        return
    (frame,) = opened.positions(0, 0, 1)
    lengths = np.linalg.norm(frame[bonds[:, 0]] - frame[bonds[:, 1]], axis=-1)
    worst = int(np.argmax(lengths))
    if lengths[worst] > _LONG_BOND_NM:
        first, second = (opened.molecule.atom_label(index) for index in bonds[worst].tolist())
        logger.warning(
            "the bond of %s and %s is %.3g nm long in the first frame of %s: is this its topology, with the atoms in "
            "the same order, are the positions in nm, and is the molecule whole rather than cut by a periodic box?",
            first,
            second,
            lengths[worst],
            opened.names[0],
        )


def _expanded(paths: Sequence[str | Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if Path(path).exists():
            matches = [Path(path)]
        elif glob.has_magic(str(path)):
            matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
            if not matches:
                raise MdgenError(f"no file matches {path}; check the pattern and the folder you run in")
        else:
            raise MdgenError(f"trajectory {path} does not exist; check the name and the folder you run in")
        found += [_resolved(match) for match in matches]
    if not found:
        raise MdgenError("no trajectory was named; name at least one file or store")
    return found


def _resolved(path: Path) -> Path:
    """The path itself, or the store within the folder of a finished run."""
    store = path / STORE
    if not path.is_dir() or is_store(path) or is_zarr(path):
        return path
    if not is_store(store):
        raise MdgenError(f"folder {path} holds no trajectory store; name the files in it, as {path}/*.xtc")
    if not (path / MARK).is_file():
        raise MdgenError(f"the run in {path} is not finished; finish it by running its command again")
    return store
