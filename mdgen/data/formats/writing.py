"""Writing trajectories block by block in the formats of other programs, whole or not at all."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from mdtraj.formats import DCDTrajectoryFile, PDBTrajectoryFile, XTCTrajectoryFile

from mdgen.data.finite import require_finite
from mdgen.data.formats.cells import lengths_and_angles
from mdgen.data.formats.h5 import write_h5
from mdgen.data.formats.reading import file_sources
from mdgen.errors import MdgenError
from mdgen.files import writable
from mdgen.molecule.topology import Molecule
from mdgen.units import ANGSTROM

_Write = Callable[[np.ndarray, np.ndarray, int, np.ndarray | None], None]
"""Writer of a block: positions, times, number of the first frame, box vectors or None."""


def write_trajectory(
    path: Path | str,
    positions: Float[np.ndarray, "frame atom 3"] | Iterable[Float[np.ndarray, "_frame atom 3"]],
    molecule: Molecule,
    frame_spacing_ps: float,
    cells: Float[np.ndarray, "_all 3 3"] | None = None,
) -> int:
    """Write a trajectory as xtc, dcd, h5 or pdb, by the extension; returns the number of frames.

    It is written aside and renamed when whole. xtc rounds to 0.001 nm; dcd and pdb hold no usable times; pdb holds one
    box, that of the first frame.

    Args:
        path: file to write, replaced if it exists.
        positions: all frames in nm, or blocks of them one after the other.
        molecule: molecule of every frame.
        frame_spacing_ps: time between two frames.
        cells: box vectors of all frames in nm, as rows; None without a periodic box.

    Raises:
        MdgenError: if the extension is unknown, a coordinate is not finite, or the disk is full; nothing is left then.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in _FORMATS:
        raise MdgenError(f"{path} cannot be written: {kind or 'no extension'} is not among {', '.join(_FORMATS)}")
    aside = path.with_name(f".{path.stem}.{os.getpid()}.part{kind}")
    with writable(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            n_frames = _write_blocks(aside, path, positions, molecule, frame_spacing_ps, cells)
            with open(aside, "rb") as file:
                os.fsync(file.fileno())
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    return n_frames


def _write_blocks(
    aside: Path,
    path: Path,
    positions: np.ndarray | Iterable[np.ndarray],
    molecule: Molecule,
    spacing: float,
    cells: np.ndarray | None,
) -> int:
    first = 0
    with _FORMATS[path.suffix.lower()](aside, molecule) as write:
        for block in [positions] if isinstance(positions, np.ndarray) else positions:
            if block.ndim != 3 or block.shape[1:] != (molecule.n_atoms, 3):
                raise MdgenError(f"frames of shape {block.shape} do not fit a molecule of {molecule.n_atoms} atoms")
            start = first
            require_finite(block, lambda index, start=start: f"frame {start + index[0]}", f"{path} was not written")  # type: ignore[misc]
            times, own = spacing * (first + np.arange(len(block))), slice(first, first + len(block))
            try:
                write(
                    np.ascontiguousarray(block, dtype=np.float32), times, first, None if cells is None else cells[own]
                )
            except (RuntimeError, TypeError) as error:  # what the C writers make of an error of the disk
                raise MdgenError(f"cannot write {path} ({error}); is the disk full?") from error
            first += len(block)
    if first == 0:
        raise MdgenError(f"there is no frame to write to {path}; give at least one")
    _require_arrived(aside, path, first)
    return first


def _require_arrived(aside: Path, path: Path, n_frames: int) -> None:
    """The C writers pass over a full disk in silence, HDF5 even with its frames counted: see what is there."""
    if path.suffix.lower() == ".pdb":  # written by Python, which does complain
        return
    try:
        (source,) = file_sources(aside)
        arrived = source.n_frames
        for start in range(0, arrived, 10_000) if path.suffix.lower() == ".h5" else ():
            source.read(start, min(start + 10_000, arrived), 1)
    except MdgenError as error:
        raise MdgenError(f"not all frames reached {path}; is the disk full?") from error
    if arrived != n_frames:
        raise MdgenError(f"only {arrived} of {n_frames} frames reached {path}; is the disk full?")


@contextmanager
def _xtc(path: Path, molecule: Molecule) -> Iterator[_Write]:
    with XTCTrajectoryFile(str(path), "w") as file:
        yield lambda block, time, first, cells: file.write(
            block, time=time.astype(np.float32), step=np.arange(first, first + len(block), dtype=np.int32), box=cells
        )


@contextmanager
def _dcd(path: Path, molecule: Molecule) -> Iterator[_Write]:
    with DCDTrajectoryFile(str(path), "w") as file:

        def write(block: np.ndarray, time: np.ndarray, first: int, cells: np.ndarray | None) -> None:
            lengths, angles = (None, None) if cells is None else lengths_and_angles(cells)
            file.write(block / np.float32(ANGSTROM), None if lengths is None else lengths / ANGSTROM, angles)

        yield write


@contextmanager
def _pdb(path: Path, molecule: Molecule) -> Iterator[_Write]:
    with PDBTrajectoryFile(str(path), "w") as file:

        def write(block: np.ndarray, time: np.ndarray, first: int, cells: np.ndarray | None) -> None:
            lengths, angles = (None, None) if cells is None else (each[0] for each in lengths_and_angles(cells[:1]))
            box = {} if lengths is None else {"unitcell_lengths": lengths / ANGSTROM, "unitcell_angles": angles}
            for number, frame in enumerate(block, start=first):
                file.write(frame / ANGSTROM, molecule.topology, modelIndex=number, **box)

        yield write


_FORMATS: dict[str, Any] = {".xtc": _xtc, ".dcd": _dcd, ".h5": write_h5, ".pdb": _pdb}
