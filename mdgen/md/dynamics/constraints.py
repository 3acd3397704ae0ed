"""Fixed distances: SHAKE for positions and RATTLE for velocities, every replica and every cluster at once.

Constraints that share atoms form a cluster (a heavy atom with its hydrogens, a rigid water). Each cluster's Lagrange
multipliers solve a small system exactly, so Newton's iteration converges quadratically (Ryckaert, Ciccotti and
Berendsen, J. Comput. Phys. 1977, 23, 327; Andersen, ibid. 1983, 52, 24; solved as matrices after M-SHAKE, Krautler et
al., J. Comput. Chem. 2001, 22, 501).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.errors import MdgenError

_ITERATIONS = 20


@dataclass(frozen=True)
class DistanceConstraints:
    """The constraints of one molecule, clustered and padded; make one with `distance_constraints`.

    Args:
        masses: amu.
        atoms: the two atoms of each constraint.
        lengths: distances in nm.
        first: first atom of every constraint, in clusters; padding repeats an atom.
        second: second atom; equal to the first in padding.
        length: distances in nm; 1 in padding.
        coupling: change of one constraint of a cluster by a unit multiplier on another, 1/amu; `coupling` times the
            two constraints' directions is the matrix to solve.
        inverse_masses: 1/amu of every atom.
        tolerance: relative error of a distance that is left.
    """

    masses: Float[Tensor, "atom"]
    atoms: Int[Tensor, "constraint 2"]
    lengths: Float[Tensor, "constraint"]
    first: Int[Tensor, "cluster member"]
    second: Int[Tensor, "cluster member"]
    length: Float[Tensor, "cluster member"]
    coupling: Float[Tensor, "cluster member member"]
    inverse_masses: Float[Tensor, "atom"]
    tolerance: float

    @property
    def count(self) -> int:
        """How many there are, without padding."""
        return len(self.atoms)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "DistanceConstraints":
        """The same constraints on a device and in a precision."""
        masses, lengths = self.masses.to(device, dtype), self.lengths.to(device, dtype)
        return distance_constraints(masses, self.atoms.to(device), lengths, self.tolerance)

    def positions(
        self, reference: Float[Tensor, "replica atom 3"], trial: Float[Tensor, "replica atom 3"]
    ) -> Float[Tensor, "replica atom 3"]:
        """`trial` moved along the constraints' directions in `reference` until every distance is met.

        A replica that has met its distances is not moved while others are iterated, so that replicas stay independent;
        nor is one whose error no longer halves, because its precision allows no better.
        """
        if self.count == 0:
            return trial
        directions = self._between(reference)
        padding = self._padding
        last = trial.new_full((len(trial),), float("inf"))
        for _ in range(_ITERATIONS):
            between = self._between(trial)
            square = between.square().sum(-1)
            error = torch.where(padding, 0.0, 0.5 * (square - self.length.square()))
            worst = (error.abs() / self.length.square()).flatten(1).amax(-1)
            unmet = (worst > self.tolerance) & (worst < 0.5 * last)
            last = worst
            if not bool(unmet.any()):
                break
            matrix = self.coupling * torch.einsum("rcix,rcjx->rcij", between, directions)
            moved = self._displaced(trial, -self._solved(matrix, error), directions)
            trial = torch.where(unmet[:, None, None], moved, trial)
        return trial

    def velocities(
        self, positions: Float[Tensor, "replica atom 3"], velocities: Float[Tensor, "replica atom 3"]
    ) -> Float[Tensor, "replica atom 3"]:
        """`velocities` without their parts along the constraints: orthogonal projection in the metric of the masses."""
        if self.count == 0:
            return velocities
        directions = self._between(positions)
        rate = (directions * self._between(velocities)).sum(-1)
        matrix = self.coupling * torch.einsum("rcix,rcjx->rcij", directions, directions)
        return self._displaced(velocities, -self._solved(matrix, rate), directions)

    def largest_error(self, positions: Float[Tensor, "replica atom 3"]) -> Float[Tensor, "replica"]:
        """Largest relative error of a constrained distance of each replica."""
        if self.count == 0:
            return positions.new_zeros(len(positions))
        distance = self._between(positions).norm(dim=-1)
        return torch.where(self._padding, 0.0, (distance / self.length - 1).abs()).flatten(1).amax(-1)

    @property
    def _padding(self) -> Tensor:
        return self.first == self.second

    def _between(self, positions: Tensor) -> Tensor:
        return positions[:, self.second] - positions[:, self.first]

    def _solved(self, matrix: Tensor, right: Tensor) -> Tensor:
        matrix = matrix + torch.diag_embed(self._padding.to(matrix.dtype))
        return torch.linalg.solve_ex(matrix, right[..., None]).result[..., 0]

    def _displaced(self, positions: Tensor, multipliers: Tensor, directions: Tensor) -> Tensor:
        shift = (multipliers[..., None] * directions).flatten(1, 2)
        first, second = self.first.flatten(), self.second.flatten()
        positions = positions.index_add(1, first, -shift * self.inverse_masses[first, None])
        return positions.index_add(1, second, shift * self.inverse_masses[second, None])


def distance_constraints(
    masses: Float[Tensor, "atom"],
    atoms: Int[Tensor, "constraint 2"],
    length: Float[Tensor, "constraint"],
    tolerance: float = 1e-6,
) -> DistanceConstraints:
    """Gather constraints into clusters.

    Args:
        masses: amu; precision and device are those of the positions to come.
        atoms: the two atoms of each constraint.
        length: distances in nm.
        tolerance: relative error of a distance that may be left; single precision allows no less than 1e-6.

    Raises:
        MdgenError: if a constraint joins an atom to itself or has no positive length.
    """
    for (i, j), distance in zip(atoms.tolist(), length.tolist(), strict=True):
        if i == j or not distance > 0:
            raise MdgenError(
                f"the constraint of atoms {i} and {j} to {distance} nm is impossible; "
                "it needs two atoms and a positive length"
            )
    clusters = _clusters(atoms.tolist())
    width = max((len(cluster) for cluster in clusters), default=0)
    first = torch.zeros(len(clusters), width, dtype=torch.int64)
    second, lengths = first.clone(), torch.ones(len(clusters), width, dtype=masses.dtype)
    for row, cluster in enumerate(clusters):
        members = torch.tensor(cluster)
        first[row, : len(cluster)], second[row, : len(cluster)] = atoms[members].cpu().T
        lengths[row, : len(cluster)] = length[members].cpu()
    inverse = 1 / masses
    first, second, lengths = (table.to(masses.device) for table in (first, second, lengths))
    coupling = _coupling(first, second, inverse)
    return DistanceConstraints(masses, atoms, length, first, second, lengths, coupling, inverse, tolerance)


def _coupling(first: Tensor, second: Tensor, inverse: Tensor) -> Tensor:
    def shared(left: Tensor, right: Tensor) -> Tensor:
        return (left[:, :, None] == right[:, None, :]) * inverse[left][:, :, None]

    coupling = shared(second, second) - shared(second, first) - shared(first, second) + shared(first, first)
    padding = first == second
    return coupling.masked_fill(padding[:, :, None] | padding[:, None, :], 0.0)


def _clusters(atoms: list[list[int]]) -> list[list[int]]:
    """Constraints that share atoms, directly or through others."""
    clusters: list[tuple[set[int], list[int]]] = []
    for index, pair in enumerate(atoms):
        touching = [cluster for cluster in clusters if cluster[0] & set(pair)]
        clusters = [cluster for cluster in clusters if not cluster[0] & set(pair)]
        joined = set(pair).union(*(cluster[0] for cluster in touching))
        clusters.append((joined, sorted([index, *(i for cluster in touching for i in cluster[1])])))
    return sorted((members for _, members in clusters))
