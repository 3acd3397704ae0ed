"""Trajectories into files of other programs: one file a trajectory, and the topology that they share."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from mdgen.data.formats.writing import write_trajectory
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError

FORMATS = ("xtc", "dcd", "h5", "pdb")
TOPOLOGY = "topology.pdb"

_BLOCK = 10_000

logger = logging.getLogger("mdgen")


def export_trajectories(
    trajectories: TrajectorySet, folder: Path | str, to: str, atoms: str | None = None, stride: int = 1
) -> list[Path]:
    """Write `trajectory-NNNN.<to>` for each trajectory and `topology.pdb`; returns the trajectory files.

    Args:
        trajectories: what is written, with its periodic boxes.
        folder: folder of the files, made if need be; files of these names are replaced.
        to: format, one of `FORMATS`.
        atoms: mdtraj selection of the atoms that are written, such as `protein`; None for all.
        stride: every how manieth frame is written.

    Raises:
        MdgenError: for an unknown format, a selection that names nothing, or a full disk.
    """
    if to not in FORMATS:
        raise MdgenError(f"to={to}: expected one of {', '.join(FORMATS)}")
    if stride < 1:
        raise MdgenError(f"stride={stride}: expected at least 1, every how manieth frame is written")
    kept = None if atoms is None else trajectories.molecule.select(atoms)
    molecule = trajectories.molecule if kept is None else trajectories.molecule.subset(kept)
    spacing = trajectories.frame_spacing_ps * stride
    first = next(_blocks(trajectories, 0, 1, kept))[:1]
    write_trajectory(Path(folder) / TOPOLOGY, first, molecule, spacing, trajectories.cells(0, 0, 1))
    written = []
    for index in range(len(trajectories)):
        path = Path(folder) / f"trajectory-{index:04d}.{to}"
        cells = trajectories.cells(index, stride=stride)
        write_trajectory(path, _blocks(trajectories, index, stride, kept), molecule, spacing, cells)
        written.append(path)
    return written


def _blocks(
    trajectories: TrajectorySet, index: int, stride: int, kept: Int[np.ndarray, "kept"] | None
) -> Iterator[Float[np.ndarray, "_frame _atom 3"]]:
    """Every `stride`-th frame of one trajectory in blocks, the kept atoms of it."""
    for start in range(0, trajectories.lengths[index], _BLOCK * stride):
        block = trajectories.positions(index, start, start + _BLOCK * stride, stride)
        yield block if kept is None else block[:, kept]
