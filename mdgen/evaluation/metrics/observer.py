"""One pass over trajectories that measures what every metric needs.

Positions are read block by block and discarded. About 150 bytes a frame remain, and two bytes for each degree of
freedom of those frames whose structure is checked: 300 MB for 10^6 frames of alanine dipeptide.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.data.collation import context_of
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.evaluation.metrics.conformation.measurements import Conformation
from mdgen.evaluation.metrics.energies import energies
from mdgen.evaluation.metrics.structure_checks import CHECKS, StructureChecks
from mdgen.evaluation.statistics.observables import Observables
from mdgen.geometry.dihedrals import dihedral_angles
from mdgen.interfaces import Context, Potential
from mdgen.molecule.torsions import Torsion, torsion_atoms
from mdgen.progress import Progress

Projection = Callable[[Tensor, Context], Tensor]
"""Positions `(1, frame, atom, 3)` and their context to slow coordinates `(1, frame, token, channel)`, as `encode` of an
`Encoder`."""

BLOCK_VALUES = 300_000
"""Coordinates read at a time: 1.2 MB, which fits in a core's cache; measured twice as fast as ten times as many."""

LARGEST_ENERGY = 1e30
"""Bound in kJ/mol for energies that no float holds, such as those of two atoms at one place."""


@dataclass(frozen=True)
class Observer:
    """What is measured on each frame.

    Args:
        torsions: torsions, in the order of the column.
        checks: structure checks.
        conformation: degrees of freedom measured on the frames whose structure is checked, and the fingerprint.
        projection: slow coordinates of a frame, or None.
        potential: potential whose energies are measured, or None.
        energy_terms: terms that `energies` gives for the potential, the columns of `energy`.
        energy_frames: frames of each set whose energy is computed.
        structure_work: most distances and angles measured for structure; beyond it every k-th frame is checked and
            the rest of the column is NaN.
    """

    torsions: tuple[Torsion, ...]
    checks: StructureChecks
    conformation: Conformation
    projection: Projection | None = None
    potential: Potential | None = None
    energy_terms: tuple[str, ...] = ()
    energy_frames: int = 2000
    structure_work: float = 2e8

    def structure_stride(self, n_frames: int) -> int:
        """Stride of the frames whose structure is checked."""
        terms = len(self.checks.bonds) + len(self.checks.angles) + len(self.checks.pairs)
        terms += len(self.checks.prochiral) + self.conformation.work
        return max(1, round(n_frames * terms / self.structure_work))

    def observe(self, trajectories: TrajectorySet, stride: int, label: str) -> Observables:
        """Measure every `stride`-th frame of all trajectories.

        Raises:
            MdgenError: if a frame holds coordinates that are not finite, naming the trajectory and the frame.
        """
        lengths = tuple(-(-length // stride) for length in trajectories.lengths)
        total = sum(lengths)
        every = {"structure": self.structure_stride(total), "energy": max(1, total // self.energy_frames)}
        progress = Progress(label, total)
        parts: dict[str, list[np.ndarray]] = {}
        tables: dict[str, list[np.ndarray]] = {}
        done = 0
        for index, length in enumerate(trajectories.lengths):
            conditions = trajectories.temperatures_K[index], trajectories.frame_spacing_ps * stride
            context = context_of(trajectories.molecule, 1, *conditions)
            for first, positions in _blocks(trajectories, index, length, stride):
                for name, column in self._measure(positions, context, first, every).items():
                    parts.setdefault(name, []).append(column)
                for name, table in self._measure_tables(positions, first, every["structure"]).items():
                    tables.setdefault(name, []).append(table)
                done += len(positions)
                progress.update(done)
        columns = {name: np.concatenate(blocks) for name, blocks in parts.items()}
        measured = np.isfinite(columns["structure"][:, CHECKS.index("bond_max_nm")])
        columns["sampled"] = np.where(measured, np.cumsum(measured) - 1, -1).astype(np.int32)
        whole = {name: np.concatenate(blocks) for name, blocks in tables.items()}
        return Observables(lengths, trajectories.frame_spacing_ps * stride, columns, tables=whole)

    @torch.no_grad()
    def _measure(self, positions: Tensor, context: Context, first: int, every: dict[str, int]) -> dict[str, np.ndarray]:
        columns = {"torsions": dihedral_angles(positions, torsion_atoms(self.torsions)).numpy()}
        columns["mark"] = _marks(positions.numpy())
        columns["fingerprint"] = self.conformation.distances(positions)
        columns["structure"] = _sparse(self.checks.measure, positions, first, every["structure"], len(CHECKS))
        if self.projection is not None:
            columns["psi"] = self.projection(positions[None], context).reshape(len(positions), -1).float().numpy()
        if self.potential is not None:
            columns["energy"] = _sparse(self._energy, positions, first, every["energy"], len(self.energy_terms))
        return columns

    @torch.no_grad()
    def _measure_tables(self, positions: Tensor, first: int, every: int) -> dict[str, np.ndarray]:
        return self.conformation.measure(positions[-first % every :: every])

    def _energy(self, positions: Tensor) -> Tensor:
        assert self.potential is not None
        found = energies(self.potential, positions)
        table = torch.stack([found[term] for term in self.energy_terms], dim=-1)
        # NaN in the column means that a frame was not sampled; overlapping atoms must not look like that.
        return torch.nan_to_num(table, nan=LARGEST_ENERGY).clamp(-LARGEST_ENERGY, LARGEST_ENERGY)


def _marks(positions: Float[np.ndarray, "frame atom 3"]) -> Int[np.ndarray, "frame"]:
    """Hash of each frame's coordinates: equal for frames that are the same bit for bit."""
    bits = np.ascontiguousarray(positions, dtype=np.float32).reshape(len(positions), -1).view(np.int32)
    factors = np.random.default_rng(0).integers(-(2**62), 2**62, size=bits.shape[1]) | 1
    return (bits * factors).sum(1)  # the products overflow on purpose


def _sparse(measure: Callable[[Tensor], Tensor], positions: Tensor, first: int, every: int, width: int) -> np.ndarray:
    """Measure every `every`-th frame, counted from the start of the trajectory; NaN elsewhere."""
    column, offset = np.full((len(positions), width), np.nan, dtype=np.float32), -first % every
    if offset < len(positions):
        column[offset::every] = measure(positions[offset::every]).float().numpy()
    return column


def _blocks(trajectories: TrajectorySet, index: int, length: int, stride: int) -> Iterator[tuple[int, Tensor]]:
    """Blocks of one trajectory with the number, counted in strides, of their first frame."""
    frames = max(1, BLOCK_VALUES // (3 * trajectories.molecule.n_atoms))
    for start in range(0, length, frames * stride):
        block = np.asarray(trajectories.positions(index, start, min(start + frames * stride, length), stride))
        positions = torch.from_numpy(np.array(block, dtype=np.float32))
        finite = torch.isfinite(positions).all(-1).all(-1)
        if not finite.all():
            bad = start + int((~finite).nonzero()[0]) * stride
            raise MdgenError(
                f"frame {bad} of {trajectories.names[index]} holds coordinates that are not finite; "
                "cut the trajectory before that frame"
            )
        yield start // stride, positions


def sample_positions(trajectories: TrajectorySet, frames: int) -> Tensor:
    """About `frames` frames spread evenly over all trajectories, in nm, `(frame, atom, 3)`."""
    stride = max(1, sum(trajectories.lengths) // frames)
    parts = [
        block
        for index, length in enumerate(trajectories.lengths)
        for _, block in _blocks(trajectories, index, length, min(stride, max(1, length)))
    ]
    return torch.cat(parts)
