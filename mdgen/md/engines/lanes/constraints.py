"""Rigid bonds of sixteen replicas: SHAKE for positions, RATTLE for velocities.

Each sweep meets one constraint after the other, by one Newton step in its own multiplier. The number of sweeps is fixed
beforehand from the masses: stopping on convergence would let the worst replica of a block decide for the others.

References: Ryckaert, Ciccotti, Berendsen, J. Comput. Phys. 1977, 23, 327; Andersen, J. Comput. Phys. 1983, 52, 24.
"""

from typing import Any, NamedTuple

import numpy as np

from mdgen.errors import MdgenError
from mdgen.md.engines.lanes.lane_math import lane_function
from mdgen.md.engines.lanes.vectors import add_to, dot, load_vector, minus, scaled, subtract_from
from mdgen.md.force_field.parameters import ForceFieldParameters

_TARGET = 1e-8
_MOST_SWEEPS = 60


class ConstraintTables(NamedTuple):
    """Constraints as the kernels read them.

    Args:
        atoms: int64 (constraint, 2).
        numbers: number (constraint, 4): squared length; inverse mass of either atom; inverse of their sum.
        sweeps: how often all constraints are visited.
    """

    atoms: np.ndarray
    numbers: np.ndarray
    sweeps: int


def constraint_tables(parameters: ForceFieldParameters, dtype: type) -> ConstraintTables:
    """Lay out the constraints of a molecule and choose the number of sweeps.

    Raises:
        MdgenError: where the constraints depend on one another so strongly that sweeps would not meet them.
    """
    atoms = np.ascontiguousarray(parameters.constraint_atoms.detach().cpu().numpy().reshape(-1, 2), dtype=np.int64)
    length = parameters.constraint_length.detach().cpu().numpy()
    inverse = (1 / parameters.masses.detach().cpu().numpy())[atoms].reshape(-1, 2)
    numbers = np.stack([length**2, inverse[:, 0], inverse[:, 1], 1 / inverse.sum(-1)], -1)
    return ConstraintTables(atoms, np.ascontiguousarray(numbers, dtype=dtype), _sweeps(atoms, inverse))


def _sweeps(atoms: np.ndarray, inverse_masses: np.ndarray) -> int:
    """Sweeps after which the error is below `_TARGET`, from the Gauss-Seidel matrix of the coupled constraints.

    Two constraints at one atom couple through its mass times the cosine between them. Where every constraint ends in an
    atom of its own, as bonds to hydrogen do, that is a bond angle and at most 1/2; otherwise nothing is known of it.
    Two more sweeps are for the Newton step's own convergence.
    """
    n = len(atoms)
    if n == 0:
        return 0
    uses = np.bincount(atoms.ravel())
    cosine = 0.5 if (uses[atoms].min(1) == 1).all() else 1.0
    same = atoms[:, None, :, None] == atoms[None, :, None, :]
    coupling = cosine * np.einsum("abpq,ap->ab", same, inverse_masses)
    np.fill_diagonal(coupling, inverse_masses.sum(-1))
    rate = np.abs(np.linalg.eigvals(np.linalg.solve(np.tril(coupling), np.triu(coupling, 1)))).max()
    sweeps = 2 + np.ceil(np.log(_TARGET) / np.log(np.clip(rate, _TARGET, 1 - 1e-9)))
    if sweeps > _MOST_SWEEPS:
        raise MdgenError(
            f"the {n} constraints depend on one another so strongly that they need more than {_MOST_SWEEPS} sweeps a "
            "step of the many-replica kernel: constrain bonds to hydrogen only, or use the torch engine"
        )
    return int(sweeps)


@lane_function
def constrain_velocities(positions: Any, velocities: Any, constraints: Any) -> None:
    """Take the motion along every rigid bond out of the velocities (atom, 3, lane)."""
    for _ in range(constraints.sweeps):
        for constraint in range(constraints.atoms.shape[0]):
            i, j = constraints.atoms[constraint, 0], constraints.atoms[constraint, 1]
            number = constraints.numbers
            between = minus(load_vector(positions, i), load_vector(positions, j))
            approach = dot(between, minus(load_vector(velocities, i), load_vector(velocities, j)))
            impulse = approach * (number[constraint, 3] / number[constraint, 0])
            subtract_from(velocities, i, scaled(between, impulse * number[constraint, 1]))
            add_to(velocities, j, scaled(between, impulse * number[constraint, 2]))


@lane_function
def constrain_positions(
    previous: Any, positions: Any, velocities: Any, inverse_timestep: Any, constraints: Any
) -> None:
    """Move atoms along the bonds' previous directions until every rigid bond has its length.

    What a position is moved by is given to its velocity too, over the time step.

    Args:
        previous: positions before the step, which fulfil the constraints, (atom, 3, lane).
        positions: positions after the step, corrected.
        velocities: corrected.
        inverse_timestep: 1/ps.
        constraints: `ConstraintTables`.
    """
    for _ in range(constraints.sweeps):
        for constraint in range(constraints.atoms.shape[0]):
            i, j = constraints.atoms[constraint, 0], constraints.atoms[constraint, 1]
            number = constraints.numbers
            direction = minus(load_vector(previous, i), load_vector(previous, j))
            at_i, at_j = load_vector(positions, i), load_vector(positions, j)
            between = minus(at_i, at_j)
            excess = dot(between, between) - number[constraint, 0]
            push = excess * (0.5 * number[constraint, 3]) / dot(between, direction)
            move_i = scaled(direction, push * number[constraint, 1])
            move_j = scaled(direction, push * number[constraint, 2])
            subtract_from(positions, i, move_i)
            add_to(positions, j, move_j)
            subtract_from(velocities, i, scaled(move_i, inverse_timestep))
            add_to(velocities, j, scaled(move_j, inverse_timestep))
