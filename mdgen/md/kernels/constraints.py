"""Rigid bonds of sixteen replicas: SHAKE for positions, RATTLE for velocities.

Each sweep meets one constraint after the other, by one Newton step in its own multiplier. The number of sweeps is fixed
beforehand from the masses: stopping on convergence would let the worst replica of a block decide for the others.

References: Ryckaert, Ciccotti, Berendsen, J. Comput. Phys. 1977, 23, 327; Andersen, J. Comput. Phys. 1983, 52, 24.
"""

from typing import Any, NamedTuple

import numpy as np

from mdgen.md.kernels.lane_math import lane_function
from mdgen.md.kernels.vectors import add_to, dot, load_vector, minus, scaled, subtract_from
from mdgen.md.parameters import ForceFieldParameters

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
    """Lay out the constraints of a molecule and choose the number of sweeps."""
    atoms = np.ascontiguousarray(parameters.constraint_atoms.detach().cpu().numpy().reshape(-1, 2), dtype=np.int64)
    length = parameters.constraint_length.detach().cpu().numpy()
    inverse = (1 / parameters.masses.detach().cpu().numpy())[atoms].reshape(-1, 2)
    numbers = np.stack([length**2, inverse[:, 0], inverse[:, 1], 1 / inverse.sum(-1)], -1)
    return ConstraintTables(atoms, np.ascontiguousarray(numbers, dtype=dtype), _sweeps(atoms, inverse))


def _sweeps(atoms: np.ndarray, inverse_masses: np.ndarray) -> int:
    """Sweeps after which the error is below `_TARGET`, from the Gauss-Seidel matrix of the coupled constraints.

    Two constraints at one atom couple through its mass times the cosine between them; 0.5 bounds that of any bond angle
    between 60 and 120 degrees, rigid water included. Two more sweeps are for the Newton step's own convergence.
    """
    n = len(atoms)
    if n == 0:
        return 0
    coupling = np.diag(inverse_masses.sum(-1))
    for a in range(n):
        for b in range(n):
            if a != b:
                shared = [(p, q) for p in range(2) for q in range(2) if atoms[a, p] == atoms[b, q]]
                coupling[a, b] = sum(0.5 * inverse_masses[a, p] for p, _ in shared)
    lower = np.tril(coupling)
    rate = np.abs(np.linalg.eigvals(np.linalg.solve(lower, np.triu(coupling, 1)))).max()
    linear = int(np.ceil(np.log(_TARGET) / np.log(rate))) if rate > 1e-12 else 1
    return min(linear + 2, _MOST_SWEEPS)


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
