"""A folder that holds trajectories of one molecule: append-only, memory-mapped, whole after a crash at any moment.

The folder holds `molecule.json` (the topology), chunks of frames as `chunk-N.npy` (trajectory, frame, atom, 3; float32;
nm) and `manifest.json`, which lists the chunks. A chunk is written aside, flushed and renamed; only then does the
manifest that names it replace the old one, in one rename. A chunk that the manifest does not name does not exist.

In a periodic box, `cells-N.npy` beside each chunk holds the box vectors of its frames as rows (trajectory, frame, 3, 3;
float32; nm); the chunk's entry in the manifest names it as `cells`.

A trajectory may end before the others. The chunks that follow then hold the others only, and the manifest lists, as
`trajectories`, which: so every length can be read off the chunks, and cutting the store cuts the lengths with it.
"""

import functools
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float

from mdgen.data.finite import require_finite
from mdgen.data.lock import FolderLock
from mdgen.errors import MdgenError
from mdgen.files import writable, write_aside
from mdgen.molecule.topology import Molecule

FORMAT = "mdgen trajectory store"
VERSION = 2
READABLE = (1, VERSION)
"""Version 1 had trajectories of one length only."""

UNITS = {"positions": "nm", "frame_spacing": "ps"}
_OPEN_CHUNKS = 64
_PREFIXES = {"file": "chunk", "cells": "cells"}
"""How the files of a chunk begin, by the name of their entry in the manifest."""


class TrajectoryStore:
    """Trajectories of one molecule that grow side by side in a folder; make one with `create`, read one with `open`.

    Any number of processes may read while one writes. The first `append` or `truncate` takes the folder's lock, `close`
    (or leaving a `with` block, or the end of the process) gives it back.
    """

    def __init__(self, path: Path, molecule: Molecule, manifest: dict[str, Any]) -> None:
        self.path = path
        self.molecule = molecule
        self._lock = FolderLock(path)
        self._maps: OrderedDict[str, np.ndarray] = OrderedDict()
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
        if n_trajectories < 1:
            raise MdgenError(f"a store of {n_trajectories} trajectories is empty; it must hold at least one")
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "units": UNITS,
            "frame_spacing_ps": float(frame_spacing_ps),
            "n_trajectories": int(n_trajectories),
            "n_atoms": molecule.n_atoms,
            "metadata": dict(metadata or {}),
            "next_chunk": 0,
            "chunks": [],
        }
        store = cls(path, molecule, manifest)
        with writable(path.parent):
            path.mkdir(parents=True, exist_ok=True)
        store._lock.acquire()
        write_aside(path / "molecule.json", json.dumps(molecule.to_json()).encode())
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
        try:
            manifest = json.loads((path / "manifest.json").read_text())
            molecule = Molecule.from_json(json.loads((path / "molecule.json").read_text()))
            if manifest["format"] != FORMAT or manifest["version"] not in READABLE:
                raise MdgenError(f"{path} was written in another format; it needs the mdgen version that wrote it")
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, MdgenError):
                raise
            raise MdgenError(f"the trajectory store {path} is damaged ({error}); write it again") from error
        for chunk in manifest["chunks"]:
            for name in (chunk[kind] for kind in _PREFIXES if kind in chunk):
                if not (path / name).is_file():
                    raise MdgenError(f"the trajectory store {path} lacks its file {name}; write it again")
        return cls(path, molecule, manifest)

    @property
    def n_frames(self) -> int:
        """Frames of the longest trajectory, and of every one that has not ended."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def lengths(self) -> tuple[int, ...]:
        """Frames of each trajectory."""
        return tuple(self._lengths.tolist())

    @property
    def n_trajectories(self) -> int:
        """Trajectories side by side."""
        return int(self._manifest["n_trajectories"])

    @property
    def frame_spacing_ps(self) -> float:
        """Time between two frames in ps."""
        return float(self._manifest["frame_spacing_ps"])

    @property
    def periodic(self) -> bool:
        """Whether the frames have a periodic box (`cells`)."""
        return any("cells" in chunk for chunk in self._manifest["chunks"])

    @property
    def temperatures_K(self) -> tuple[float | None, ...]:
        """Temperature of each trajectory, from `temperature_K` of the metadata; None where it is not known.

        Raises:
            MdgenError: if it is neither a number from 0 on nor a list of one a trajectory.
        """
        given = self._manifest["metadata"].get("temperature_K")
        each = given if isinstance(given, list) else [given]
        each = each * self.n_trajectories if len(each) == 1 else each
        numbers = [value is None or (isinstance(value, (int, float)) and 0 <= value < np.inf) for value in each]
        if len(each) != self.n_trajectories or not all(numbers):
            raise MdgenError(
                f"{self.path} says temperature_K is {given}; expected a number, or one for each of its "
                f"{self.n_trajectories} trajectories"
            )
        return tuple(None if value is None else float(value) for value in each)

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata given to `create`."""
        return dict(self._manifest["metadata"])

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
        arrays = {"file": positions}
        if cells is not None:
            arrays["cells"] = np.ascontiguousarray(cells, dtype=np.float32)
        self.start_writing()
        self._check_cells(arrays)
        number = self._manifest["next_chunk"]
        names = {kind: f"{_PREFIXES[kind]}-{number:08d}.npy" for kind in arrays}
        for kind, array in arrays.items():
            write_aside(self.path / names[kind], functools.partial(_save, array))
        some = {} if len(rows) == self.n_trajectories else {"trajectories": rows}
        chunks = [*self._manifest["chunks"], {**names, "frames": positions.shape[1], **some}]
        self._replace_manifest({**self._manifest, "chunks": chunks, "next_chunk": number + 1})

    def truncate(self, n_frames: int) -> None:
        """Keep at most the first `n_frames` of every trajectory, as when resuming from an earlier checkpoint."""
        if not 0 <= n_frames <= self.n_frames:
            raise MdgenError(f"{self.path} holds {self.n_frames} frames; it cannot be cut to {n_frames}")
        if n_frames == self.n_frames:
            return
        self.start_writing()
        kept, left = [], n_frames
        for chunk in self._manifest["chunks"]:
            if left > 0:
                kept.append({**chunk, "frames": min(left, chunk["frames"])})
            left -= chunk["frames"]
        self._replace_manifest({**self._manifest, "chunks": kept})
        self._remove_strays()

    def positions(
        self, trajectory: int, start: int = 0, stop: int | None = None, stride: int = 1
    ) -> Float[np.ndarray, "frame atom 3"]:
        """Frames `start:stop:stride` of one trajectory in nm; a read-only view where they lie in one chunk."""
        return self._read("file", (self.molecule.n_atoms, 3), trajectory, start, stop, stride)

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
        start, stop, _ = slice(start, stop).indices(int(self._lengths[trajectory]))
        parts = []
        for number in range(int(np.searchsorted(self._ends, start, side="right")), len(self._ends)):
            chunk, last = self._manifest["chunks"][number], int(self._ends[number])
            first = last - chunk["frames"]
            if first >= stop:
                break
            begin = start + max(0, -(-(first - start) // stride)) * stride  # the first wanted frame at or after `first`
            if begin < min(stop, last):
                row = chunk["trajectories"].index(trajectory) if "trajectories" in chunk else trajectory
                parts.append(self._map(chunk, kind, shape)[row, begin - first : min(stop, last) - first : stride])
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0, *shape), np.float32)

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
        return {**self.__dict__, "_lock": FolderLock(self.path), "_maps": OrderedDict()}

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
        frames, cells = arrays["file"], arrays.get("cells")
        if self._manifest["chunks"] and self.periodic != (cells is not None):
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

    def _replace_manifest(self, manifest: dict[str, Any]) -> None:
        manifest = {**manifest, "version": VERSION}
        write_aside(self.path / "manifest.json", json.dumps(manifest).encode())
        self._adopt(manifest)

    def _adopt(self, manifest: dict[str, Any]) -> None:
        self._manifest = manifest
        self._ends = np.cumsum([chunk["frames"] for chunk in manifest["chunks"]], dtype=np.int64)
        self._lengths = np.zeros(manifest["n_trajectories"], dtype=np.int64)
        for chunk in manifest["chunks"]:
            self._lengths[chunk.get("trajectories", slice(None))] += chunk["frames"]

    def _remove_strays(self) -> None:
        """Remove what a killed writer left, and the chunks cut off."""
        named = {chunk[kind] for chunk in self._manifest["chunks"] for kind in _PREFIXES if kind in chunk}
        arrays = [file for prefix in _PREFIXES.values() for file in self.path.glob(f"{prefix}-*.npy")]
        for stray in [*arrays, *self.path.glob(".*.part")]:
            if stray.name not in named:
                stray.unlink(missing_ok=True)
                self._maps.pop(stray.name, None)

    def _map(self, chunk: dict[str, Any], kind: str, shape: tuple[int, int]) -> np.ndarray:
        name = chunk[kind]
        if name not in self._maps:
            path = self.path / name
            try:
                frames = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise MdgenError(f"{path} is damaged ({error}); write the trajectories of {self.path} again") from error
            expected = (len(chunk.get("trajectories", self.lengths)), *shape)
            if (frames.shape[0], *frames.shape[2:]) != expected or frames.shape[1] < chunk["frames"]:
                raise MdgenError(f"{path} has another shape than the manifest says; write the trajectories again")
            self._maps[name] = frames
            if len(self._maps) > _OPEN_CHUNKS:
                self._maps.popitem(last=False)
        self._maps.move_to_end(name)
        return self._maps[name]


def is_store(path: Path | str) -> bool:
    """Whether the folder holds a trajectory store."""
    return (Path(path) / "manifest.json").is_file()


def _save(array: np.ndarray, file: BinaryIO) -> None:
    """As np.save, which however reports a full disk without saying so."""
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.data)
