"""Torsions of a peptide as the analysis of MDGen sees them: phi, psi and chi, no omega and no methyl rotors."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import mdtraj
import numpy as np
from jaxtyping import Float, Int

from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.evaluation.statistics.intervals import unit_ids
from mdgen.molecule.topology import Molecule
from mdgen.molecule.torsions import Torsion, torsion_atoms, torsions
from mdgen.progress import Progress

BLOCK_VALUES = 3_000_000
"""Coordinates read at a time."""


@dataclass(frozen=True)
class TorsionSeries:
    """Torsions of every frame of some trajectories, one trajectory after the other.

    Args:
        angles: torsions in radians, float32, as mdtraj gives them.
        lengths: frames of each trajectory.
        frame_spacing_ps: time between frames.
    """

    angles: Float[np.ndarray, "frame torsion"]
    lengths: tuple[int, ...]
    frame_spacing_ps: float

    @property
    def n_frames(self) -> int:
        """Frames of all trajectories together."""
        return len(self.angles)

    @cached_property
    def units(self) -> Int[np.ndarray, "frame"]:
        """Bootstrap unit of each frame."""
        return unit_ids(self.lengths)

    @cached_property
    def trajectory(self) -> Int[np.ndarray, "frame"]:
        """Trajectory of each frame."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def slices(self) -> Iterator[slice]:
        """Frames of each trajectory."""
        ends = np.cumsum(self.lengths)
        yield from (slice(int(end) - length, int(end)) for end, length in zip(ends, self.lengths, strict=True))

    def unit_slices(self) -> list[slice]:
        """Frames of each bootstrap unit, which are consecutive."""
        ends = np.cumsum(np.bincount(self.units)).tolist()
        return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def features(self, piece: slice) -> Float[np.ndarray, "frame feature"]:
        """Sines and cosines of the torsions in double precision, the features of TICA."""
        angles = self.angles[piece].astype(np.float64)
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)

    def lag_frames(self, lag_ps: float) -> int:
        """The lag in frames, at least one."""
        return max(1, round(lag_ps / self.frame_spacing_ps))


def peptide_torsions(molecule: Molecule) -> tuple[Torsion, ...]:
    """phi, psi and chi1 to chi5 of every residue.

    Raises:
        MdgenError: if there are none, or a bond is not known.
    """
    found = torsions(molecule, ("backbone", "side_chain"))
    if not found:
        raise MdgenError("protocol=mdgen judges phi, psi and chi, and this molecule has none; leave protocol out")
    return found


def read_torsions(trajectories: TrajectorySet, chosen: tuple[Torsion, ...], label: str) -> TorsionSeries:
    """Measure torsions on every frame by `mdtraj.compute_dihedrals`, which is what PyEMMA's featuriser calls."""
    atoms, topology = torsion_atoms(chosen), trajectories.molecule.topology
    frames = max(1, BLOCK_VALUES // (3 * trajectories.molecule.n_atoms))
    progress, parts = Progress(label, trajectories.n_frames), []
    for index in range(len(trajectories)):
        for block in trajectories.blocks(index, frames):
            found = mdtraj.Trajectory(np.array(block, dtype=np.float32), topology)
            parts.append(mdtraj.compute_dihedrals(found, atoms, periodic=False))
            progress.update(sum(map(len, parts)))
    return TorsionSeries(np.concatenate(parts), trajectories.lengths, trajectories.frame_spacing_ps)
