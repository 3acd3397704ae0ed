"""A folder that holds trajectories of one molecule: append-only, memory-mapped, whole after a crash at any moment.

The folder holds `molecule.json` (the topology), chunks of frames as `chunk-N.npy` (trajectory, frame, atom, 3; float32;
nm) and `manifest.json`, which lists the chunks. A chunk is written aside, flushed and renamed; only then does the
manifest that names it replace the old one, in one rename. A chunk that the manifest does not name does not exist.

In a periodic box, `cells-N.npy` beside each chunk holds the box vectors of its frames as rows (trajectory, frame, 3, 3;
float32; nm).

The manifest holds the CRC-32 of every other file and of itself. A chunk is compared with its own when a process first
reads from it, so that no frame that is read is another than the one that was written.

A trajectory may end before the others. The chunks that follow then hold the others only, and the manifest lists, as
`trajectories`, which: so every length can be read off the chunks, and cutting the store cuts the lengths with it.
"""

import io
import json
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float

from mdgen.data.finite import require_finite
from mdgen.data.formats.mapped_array import mapped_array
from mdgen.data.lock import FolderLock
from mdgen.data.manifest import (
    FILE,
    MOST_TRAJECTORIES,
    PREFIXES,
    Chunk,
    Manifest,
    crc32_of,
    read_manifest,
    write_manifest,
)
from mdgen.documents import content_of, parsed_file
from mdgen.errors import MdgenError
from mdgen.files import writable, write_aside
from mdgen.molecule.topology import Molecule
from mdgen.open_files import OpenFiles

_mapped = OpenFiles()
"""Chunks of all stores of the process: a mapped file holds a file descriptor."""
_MOLECULE = "molecule.json"
_ADVICE = "write the trajectories again"


class TrajectoryStore:
    """Trajectories of one molecule that grow side by side in a folder; make one with `create`, read one with `open`.

    Any number of processes may read while one writes. The first `append` or `truncate` takes the folder's lock, `close`
    (or leaving a `with` block, or the end of the process) gives it back.
    """

    def __init__(self, path: Path, molecule: Molecule, manifest: Manifest) -> None:
        self.path = path
        self.molecule = molecule
        self._lock = FolderLock(path)
        self._maps: dict[str, np.ndarray] = {}
        self._verified: set[str] = set()
        self._adopt(manifest)

    @classmethod
    def create(
        cls,
        path: Path | str,
        molecule: Molecule,
        frame_spacing_ps: float,
        n_trajectories: int,
        metadata: Mapping[str, Any] | None = None,
    ) -> "TrajectoryStore":
        """A new, empty store.

        Args:
            path: folder of the store, which must not hold one yet.
            molecule: molecule of every frame.
            frame_spacing_ps: time between two frames.
            n_trajectories: trajectories that grow side by side.
            metadata: anything else worth keeping, as plain JSON with units in the keys; `temperature_K` is a number
                or a list of one a trajectory.

        Raises:
            MdgenError: if there is a store already, or the disk is full.
        """
        path = Path(path)
        if is_store(path):
            raise MdgenError(f"{path} already holds trajectories; name another folder, or open it to append to it")
        if not frame_spacing_ps > 0:
            raise MdgenError(f"a frame spacing of {frame_spacing_ps} ps makes no trajectory; it must be positive")
        if not 1 <= n_trajectories <= MOST_TRAJECTORIES:
            raise MdgenError(
                f"a store of {n_trajectories} trajectories cannot be made; it holds 1 to {MOST_TRAJECTORIES}"
            )
        topology = json.dumps(molecule.to_json()).encode()
        manifest = Manifest(
            float(frame_spacing_ps), int(n_trajectories), molecule.n_atoms, zlib.crc32(topology), dict(metadata or {})
        )
        store = cls(path, molecule, manifest)
        with writable(path.parent):
            path.mkdir(parents=True, exist_ok=True)
        store._lock.acquire()
        write_aside(path / _MOLECULE, topology)
        store._replace_manifest(manifest)
        return store

    @classmethod
    def open(cls, path: Path | str) -> "TrajectoryStore":
        """An existing store, as its manifest describes it now.

        Raises:
            MdgenError: if the folder holds no store, or files of it are missing or damaged.
        """
        path = Path(path)
        if not is_store(path):
            raise MdgenError(f"{path} holds no trajectory store (no manifest.json); name a folder that mdgen wrote")
        manifest = read_manifest(path)
        file = path / _MOLECULE
        topology = content_of(file, _ADVICE)
        if zlib.crc32(topology) != manifest.molecule_crc32:
            raise MdgenError(f"{file} is damaged: its checksum is wrong, so it is not as it was written; {_ADVICE}")
        molecule = Molecule.from_json(parsed_file(file, dict, topology, _ADVICE))
        if molecule.n_atoms != manifest.n_atoms:
            raise MdgenError(f"{file} has {molecule.n_atoms} atoms and the frames {manifest.n_atoms}; {_ADVICE}")
        return cls(path, molecule, manifest)

    @property
    def n_frames(self) -> int:
        """Frames of the longest trajectory, and of every one that has not ended."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def lengths(self) -> tuple[int, ...]:
        """Frames of each trajectory."""
        return self._lengths

    @property
    def n_trajectories(self) -> int:
        """Trajectories side by side."""
        return self._manifest.n_trajectories

    @property
    def frame_spacing_ps(self) -> float:
        """Time between two frames in ps."""
        return self._manifest.frame_spacing_ps

    @property
    def periodic(self) -> bool:
        """Whether the frames have a periodic box (`cells`)."""
        return any(chunk.cells is not None for chunk in self._manifest.chunks)

    @cached_property
    def temperatures_K(self) -> tuple[float | None, ...]:
        """Temperature of each trajectory, from `temperature_K` of the metadata; None where it is not known.

        Raises:
            MdgenError: if it is neither a number from 0 to 1e9 nor a list of one a trajectory.
        """
        given = self._manifest.metadata.get("temperature_K")
        each = given if isinstance(given, list) else [given]
        each = each * self.n_trajectories if len(each) == 1 else each
        numbers = [value is None or (isinstance(value, (int, float)) and 0 <= value < 1e9) for value in each]
        if len(each) != self.n_trajectories or not all(numbers):
            raise MdgenError(
                f"{self.path} says temperature_K is {given!s:.200}; expected a number, or one for each of its "
                f"{self.n_trajectories} trajectories"
            )
        return tuple(None if value is None else float(value) for value in each)

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata given to `create`."""
        return dict(self._manifest.metadata)

    def start_writing(self) -> None:
        """Take the folder's lock now, rather than at the first change, and read the manifest again.

        Raises:
            MdgenError: if another process writes here.
        """
        if self._lock.held:
            return
        self._lock.acquire()
        self.refresh()
        self._remove_strays()

    def append(
        self,
        positions: Float[np.ndarray, "trajectory frame atom 3"],
        trajectories: Sequence[int] | None = None,
        cells: Float[np.ndarray, "_trajectory _frame 3 3"] | None = None,
    ) -> None:
        """Add frames, in nm, to the end of every trajectory; they are on the disk when this returns.

        Each call makes one file: append blocks of some megabytes.

        Args:
            positions: frames to add, one row a trajectory.
            trajectories: numbers of the rows' trajectories, rising; None for all. One that is left out has ended.
            cells: box vectors of every frame in nm, as rows; None without a periodic box.

        Raises:
            MdgenError: if a shape does not fit, a trajectory has ended before, a coordinate is not finite, only some
                frames of the store have cells, another process writes here, or the disk is full; the store is then as
                it was.
        """
        positions = np.ascontiguousarray(positions, dtype=np.float32)
        rows = list(range(self.n_trajectories)) if trajectories is None else [int(each) for each in trajectories]
        self._check(positions, rows)
        if positions.shape[1] == 0:
            return
        arrays = {"positions": positions}
        if cells is not None:
            arrays["cells"] = np.ascontiguousarray(cells, dtype=np.float32)
        self.start_writing()
        self._check_cells(arrays)
        number = self._manifest.next_chunk
        names = {kind: f"{PREFIXES[kind]}-{number:08d}.npy" for kind in arrays}
        crc32 = {kind: _write(self.path / names[kind], array) for kind, array in arrays.items()}
        rows_kept = None if len(rows) == self.n_trajectories else rows
        boxes = names.get("cells"), crc32.get("cells")
        chunk = Chunk(names["positions"], positions.shape[1], crc32["positions"], rows_kept, *boxes)
        chunks = [*self._manifest.chunks, chunk]
        self._replace_manifest(replace(self._manifest, chunks=chunks, next_chunk=number + 1))

    def truncate(self, n_frames: int) -> None:
        """Keep at most the first `n_frames` of every trajectory, as when resuming from an earlier checkpoint."""
        if not 0 <= n_frames <= self.n_frames:
            raise MdgenError(f"{self.path} holds {self.n_frames} frames; it cannot be cut to {n_frames}")
        if n_frames == self.n_frames:
            return
        self.start_writing()
        kept, left = [], n_frames
        for chunk in self._manifest.chunks:
            if left > 0:
                kept.append(replace(chunk, frames=min(left, chunk.frames)))
            left -= chunk.frames
        self._replace_manifest(replace(self._manifest, chunks=kept))
        self._remove_strays()

    def positions(
        self, trajectory: int, start: int = 0, stop: int | None = None, stride: int = 1
    ) -> Float[np.ndarray, "frame atom 3"]:
        """Frames `start:stop:stride` of one trajectory in nm; a read-only view where they lie in one chunk."""
        return self._read("positions", (self.molecule.n_atoms, 3), trajectory, start, stop, stride)

    def cells(
        self, trajectory: int, start: int = 0, stop: int | None = None, stride: int = 1
    ) -> Float[np.ndarray, "frame 3 3"] | None:
        """Box vectors (rows, nm) of frames `start:stop:stride` of one trajectory; None without a periodic box."""
        if not self.periodic:
            return None
        return self._read("cells", (3, 3), trajectory, start, stop, stride)

    def _read(
        self, kind: str, shape: tuple[int, int], trajectory: int, start: int, stop: int | None, stride: int
    ) -> Float[np.ndarray, "frame _ 3"]:
        if not 0 <= trajectory < self.n_trajectories:
            raise MdgenError(f"{self.path} holds trajectories 0 to {self.n_trajectories - 1}; there is no {trajectory}")
        if stride < 1:
            raise MdgenError(f"a stride of {stride} frames cannot be read; it must be at least 1")
        start, stop, _ = slice(start, stop).indices(self._lengths[trajectory])
        parts = []
        for number in range(int(np.searchsorted(self._ends, start, side="right")), len(self._ends)):
            chunk, last = self._manifest.chunks[number], int(self._ends[number])
            first = last - chunk.frames
            if first >= stop:
                break
            begin = start + max(0, -(-(first - start) // stride)) * stride  # the first wanted frame at or after `first`
            if begin < min(stop, last):
                row = trajectory if chunk.trajectories is None else chunk.trajectories.index(trajectory)
                parts.append(self._map(chunk, kind, shape)[row, begin - first : min(stop, last) - first : stride])
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0, *shape), np.float32)

    def verify(self) -> None:
        """Compare every chunk with its checksum, unless this object has done so already.

        Raises:
            MdgenError: naming the first chunk that is not as it was written.
        """
        for chunk in self._manifest.chunks:
            for name, crc32 in chunk.files.values():
                self._require_as_written(name, crc32)

    def damage(self) -> Iterator[tuple[Path, str | None]]:
        """Each chunk, and a sentence if it is not as it was written."""
        for name, crc32 in (each for chunk in self._manifest.chunks for each in chunk.files.values()):
            try:
                self._require_as_written(name, crc32)
                yield self.path / name, None
            except MdgenError as error:
                yield self.path / name, str(error)

    def refresh(self) -> None:
        """Read the manifest again, to see what another process has appended."""
        self._adopt(type(self).open(self.path)._manifest)

    def close(self) -> None:
        """Give the lock back; the store can still be read."""
        self._lock.release()

    def __enter__(self) -> "TrajectoryStore":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        # another process maps the files itself, and does not write
        return {**self.__dict__, "_lock": FolderLock(self.path), "_maps": {}}

    def __repr__(self) -> str:
        return (
            f"TrajectoryStore({self.path}, {self.n_trajectories} trajectories of {self.n_frames} frames, "
            f"{self.frame_spacing_ps:g} ps apart)"
        )

    def _check(self, positions: np.ndarray, rows: list[int]) -> None:
        growing = [number for number, length in enumerate(self.lengths) if length == self.n_frames]
        if not rows or rows != sorted(set(rows) & set(growing)):
            raise MdgenError(
                f"trajectories {rows} cannot grow in {self.path}; those that have not ended are {growing}, rising"
            )
        expected = (len(rows), self.molecule.n_atoms, 3)
        if positions.ndim != 4 or (positions.shape[0], *positions.shape[2:]) != expected:
            raise MdgenError(
                f"frames of shape {positions.shape} do not fit {self.path}; it takes (trajectory, frame, atom, 3) with "
                f"{expected[0]} trajectories and {expected[1]} atoms"
            )
        require_finite(
            positions,
            lambda index: f"frame {self.n_frames + index[1]} of trajectory {rows[index[0]]}",
            f"nothing was written to {self.path}: use a shorter time step or mend the source",
        )

    def _check_cells(self, arrays: dict[str, np.ndarray]) -> None:
        frames, cells = arrays["positions"], arrays.get("cells")
        if self._manifest.chunks and self.periodic != (cells is not None):
            here, there = ("a", "no") if self.periodic else ("no", "a")
            raise MdgenError(
                f"the frames in {self.path} have {here} periodic box, and those to be added have {there} box; add "
                "frames of the same kind"
            )
        if cells is None:
            return
        if cells.shape != (*frames.shape[:2], 3, 3) or not (np.abs(np.linalg.det(cells)) > 0).all():
            raise MdgenError(
                f"cells of shape {cells.shape} do not fit {self.path}, or some enclose nothing; give box vectors in nm "
                f"of shape {(*frames.shape[:2], 3, 3)}"
            )

    def _replace_manifest(self, manifest: Manifest) -> None:
        write_manifest(self.path, manifest)
        self._adopt(manifest)

    def _adopt(self, manifest: Manifest) -> None:
        self._manifest, self._ends, self._lengths = manifest, manifest.ends, manifest.lengths

    def _remove_strays(self) -> None:
        """Remove what a killed writer left, and the chunks cut off."""
        named = {name for chunk in self._manifest.chunks for name, _ in chunk.files.values()}
        arrays = [file for prefix in PREFIXES.values() for file in self.path.glob(f"{prefix}-*.npy")]
        for stray in [*arrays, *self.path.glob(".*.part")]:
            if stray.name not in named:
                stray.unlink(missing_ok=True)
                self._maps.pop(stray.name, None)

    def _require_as_written(self, name: str, crc32: int) -> None:
        if name in self._verified:
            return
        path = self.path / name
        if crc32_of(path) != crc32:
            raise MdgenError(f"{path} is damaged: its checksum is wrong, so its frames are not as written; {_ADVICE}")
        self._verified.add(name)

    def _map(self, chunk: Chunk, kind: str, shape: tuple[int, int]) -> np.ndarray:
        name, crc32 = chunk.files[kind]
        frames = self._maps.get(name)
        if frames is None:
            path = self.path / name
            self._require_as_written(name, crc32)
            frames = mapped_array(path, _ADVICE)
            expected = (self._manifest.rows(chunk), *shape)
            found = (*frames.shape[:1], *frames.shape[2:])
            if frames.dtype != np.float32 or found != expected or frames.shape[1] < chunk.frames:
                raise MdgenError(
                    f"{path} holds an array of {frames.dtype} of shape {frames.shape}, which the manifest does not "
                    f"say; {_ADVICE}"
                )
            self._maps[name] = frames
        _mapped.use(self, name, lambda store: store._maps.pop(name, None))
        return frames


def is_store(path: Path | str) -> bool:
    """Whether the folder holds a trajectory store."""
    return (Path(path) / FILE).is_file()


def require_space(path: Path | str, n_frames: int, n_trajectories: int, n_atoms: int, cells: bool, advice: str) -> None:
    """Raise unless the disk of a trajectory store has room for the frames that it does not hold yet.

    Args:
        path: folder of the store, which need not be there yet.
        n_frames: frames of each trajectory in the end, those that are stored included.
        n_trajectories: trajectories that grow.
        n_atoms: atoms of a frame.
        cells: whether frames have a periodic box.
        advice: what to change where they do not fit.

    Raises:
        MdgenError: if they do not fit; it names both sizes.
    """
    path = Path(path)
    stored = TrajectoryStore.open(path).n_frames if is_store(path) else 0
    needed = 12 * (n_frames - stored) * n_trajectories * (n_atoms + 3 * cells)
    free = shutil.disk_usage(next(each for each in (path, *path.absolute().parents) if each.is_dir())).free
    if needed > free:
        raise MdgenError(
            f"the frames to come take {needed / 1e9:.3g} GB, but the disk of {path} has {free / 1e9:.3g} GB left; "
            f"{advice}"
        )


def _write(path: Path, array: np.ndarray) -> int:
    """Write an array as np.save does, which however reports a full disk without saying so; its CRC-32."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))

    def save(file: BinaryIO) -> None:
        file.write(head.getvalue())
        file.write(array.data)

    write_aside(path, save)
    return zlib.crc32(array.data, zlib.crc32(head.getvalue()))
