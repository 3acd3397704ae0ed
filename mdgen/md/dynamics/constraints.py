"""Fixed distances: SHAKE for positions and RATTLE for velocities, every replica and every cluster at once.

Constraints that share atoms form a cluster (a heavy atom with its hydrogens, a rigid water). Each cluster's Lagrange
multipliers solve a small system exactly, so Newton's iteration converges quadratically (Ryckaert, Ciccotti and
Berendsen, J. Comput. Phys. 1977, 23, 327; Andersen, ibid. 1983, 52, 24; solved as matrices after M-SHAKE, Krautler et
al., J. Comput. Chem. 2001, 22, 501).
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Positions, System

_ITERATIONS = 20


def with_masses(system: System, masses: Float[Tensor, "atom"]) -> System:
    """A system with other masses, in amu, which its constraints share."""
    held = system.constraints
    held = replace(held, masses=masses) if isinstance(held, DistanceConstraints) else held
    return replace(system, masses=masses, constraints=held)


@dataclass(eq=False)
class DistanceConstraints:
    """The constraints of one molecule, clustered and padded.

    Args:
        masses: amu; precision and device are those of the positions to come.
        atoms: the two atoms of each constraint.
        lengths: distances in nm.
        tolerance: relative error of a distance that may be left; single precision allows no less than 1e-6.

    Raises:
        MdgenError: if a constraint joins an atom to itself or has no positive length.
    """

    masses: Float[Tensor, "atom"]
    atoms: Int[Tensor, "constraint 2"]
    lengths: Float[Tensor, "constraint"]
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        masses, atoms, lengths = self.masses, self.atoms, self.lengths
        for (i, j), distance in zip(atoms.tolist(), lengths.tolist(), strict=True):
            if i == j or not distance > 0:
                raise MdgenError(
                    f"the constraint of atoms {i} and {j} to {distance} nm is impossible; "
                    "it needs two atoms and a positive length"
                )
        clusters = _clusters(atoms.tolist())
        width = max((len(cluster) for cluster in clusters), default=0)
        # (cluster, member); padding repeats an atom, with length 1.
        first = torch.zeros(len(clusters), width, dtype=torch.int64)
        second, length = first.clone(), torch.ones(len(clusters), width, dtype=masses.dtype)
        for row, cluster in enumerate(clusters):
            members = torch.tensor(cluster)
            first[row, : len(cluster)], second[row, : len(cluster)] = atoms[members].cpu().T
            length[row, : len(cluster)] = lengths[members].cpu()
        self._first, self._second, self._length = (table.to(masses.device) for table in (first, second, length))
        self._inverse_masses, self._padding = 1 / masses, self._first == self._second
        self._coupling = _coupling(self._first, self._second, self._inverse_masses)

    @property
    def count(self) -> int:
        """How many there are, without padding."""
        return len(self.atoms)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "DistanceConstraints":
        """The same constraints on a device and in a precision."""
        masses, lengths = self.masses.to(device, dtype), self.lengths.to(device, dtype)
        return DistanceConstraints(masses, self.atoms.to(device), lengths, self.tolerance)

    def positions(self, reference: Positions, trial: Positions) -> Positions:
        """`trial` moved along the constraints' directions in `reference` until every distance is met.

        A replica that has met its distances is not moved while others are iterated, so that replicas stay independent;
        nor is one whose error no longer halves, because its precision allows no better.
        """
        if self.count == 0:
            return trial
        directions = self._between(reference)
        last = trial.new_full((len(trial),), float("inf"))
        for _ in range(_ITERATIONS):
            between = self._between(trial)
            square = between.square().sum(-1)
            error = torch.where(self._padding, 0.0, 0.5 * (square - self._length.square()))
            worst = (error.abs() / self._length.square()).flatten(1).amax(-1)
            unmet = (worst > self.tolerance) & (worst < 0.5 * last)
            last = worst
            if not bool(unmet.any()):
                break
            matrix = self._coupling * torch.einsum("rcix,rcjx->rcij", between, directions)
            moved = self._displaced(trial, -self._solved(matrix, error), directions)
            trial = torch.where(unmet[:, None, None], moved, trial)
        return trial

    def velocities(self, positions: Positions, velocities: Positions) -> Positions:
        """`velocities` without their parts along the constraints: orthogonal projection in the metric of the masses."""
        if self.count == 0:
            return velocities
        directions = self._between(positions)
        rate = (directions * self._between(velocities)).sum(-1)
        matrix = self._coupling * torch.einsum("rcix,rcjx->rcij", directions, directions)
        return self._displaced(velocities, -self._solved(matrix, rate), directions)

    def largest_error(self, positions: Float[Tensor, "replica atom 3"]) -> Float[Tensor, "replica"]:
        """Largest relative error of a constrained distance of each replica."""
        if self.count == 0:
            return positions.new_zeros(len(positions))
        distance = self._between(positions).norm(dim=-1)
        return torch.where(self._padding, 0.0, (distance / self._length - 1).abs()).flatten(1).amax(-1)

    def _between(self, positions: Tensor) -> Tensor:
        return positions[:, self._second] - positions[:, self._first]

    def _solved(self, matrix: Tensor, right: Tensor) -> Tensor:
        matrix = matrix + torch.diag_embed(self._padding.to(matrix.dtype))
        return torch.linalg.solve_ex(matrix, right[..., None]).result[..., 0]

    def _displaced(self, positions: Tensor, multipliers: Tensor, directions: Tensor) -> Tensor:
        shift = (multipliers[..., None] * directions).flatten(1, 2)
        first, second = self._first.flatten(), self._second.flatten()
        positions = positions.index_add(1, first, -shift * self._inverse_masses[first, None])
        return positions.index_add(1, second, shift * self._inverse_masses[second, None])


def _coupling(
    first: Int[Tensor, "cluster member"], second: Int[Tensor, "cluster member"], inverse: Float[Tensor, "atom"]
) -> Float[Tensor, "cluster member member"]:
    """Change of one constraint of a cluster by a unit multiplier on another, 1/amu.

    Times the directions of the two constraints it is the matrix to solve.
    """

    def shared(left: Tensor, right: Tensor) -> Tensor:
        return (left[:, :, None] == right[:, None, :]) * inverse[left][:, :, None]

    coupling = shared(second, second) - shared(second, first) - shared(first, second) + shared(first, first)
    padding = first == second
    return coupling.masked_fill(padding[:, :, None] | padding[:, None, :], 0.0)


def _clusters(atoms: list[list[int]]) -> list[list[int]]:
    """Constraints that share atoms, directly or through others."""
    clusters: dict[int, list[int]] = {}
    edges = np.array(atoms, dtype=np.int64).reshape(-1, 2)
    n_atoms = edges.max(initial=0) + 1
    graph = coo_array((np.ones(len(edges)), edges.T), shape=(n_atoms, n_atoms))
    for index, cluster in enumerate(connected_components(graph, directed=False)[1][edges[:, 0]].tolist()):
        clusters.setdefault(cluster, []).append(index)
    return list(clusters.values())
