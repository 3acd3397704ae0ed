"""Atoms of a bonded term in either layout: one term of sixteen replicas, or sixteen terms of one replica.

Over replicas, positions and forces are (atom, 3, lane) and a table of atoms is (term, column). Over terms, they are
(atom, 3), a table of atoms is (term, column, lane), and `work`, number (4, 3, lane) of any content, takes what is
gathered and scattered. The branches are on ranks of arrays, which are known when a kernel is compiled.
"""

from typing import Any

import numpy as np

from mdgen.md.engines.lanes.vectors import add_to, load_vector, minus, scaled, store_vector, subtract_from
from mdgen.simd.jit import lane_function
from mdgen.simd.lane_instructions import lane_sum
from mdgen.simd.lanes import LANES, filled, load, store


def in_lanes(values: np.ndarray) -> np.ndarray:
    """(item, ...) as (group, ..., lane); lanes beyond the last item repeat it."""
    groups = -(-len(values) // LANES)
    filled_up = values[np.minimum(np.arange(groups * LANES), len(values) - 1)]
    return np.moveaxis(filled_up.reshape(groups, LANES, *values.shape[1:]), 1, -1)


@lane_function
def difference(x: Any, atoms: Any, term: Any, left: Any, right: Any, work: Any, row: Any) -> Any:
    """Vector to the atom in column `left` of a term from the one in column `right`; `row` of `work` is used.

    Over terms the difference is taken in the precision of the positions and rounded then, so that nothing is lost
    however far from the origin a molecule has drifted.
    """
    if x.ndim == 3:
        return minus(load_vector(x, atoms[term, left]), load_vector(x, atoms[term, right]))
    for lane in range(LANES):
        i, j = atoms[term, left, lane], atoms[term, right, lane]
        for axis in range(3):
            work[row, axis, lane] = x[i, axis] - x[j, axis]
    return load_vector(work, row)


@lane_function
def add_force(forces: Any, atoms: Any, term: Any, column: Any, work: Any, force: Any) -> None:
    """Add a force to the atom in a column of a term; lanes may share atoms, so terms take turns."""
    if forces.ndim == 3:
        add_to(forces, atoms[term, column], force)
    else:
        store_vector(work, 3, force)
        for lane in range(LANES):
            i = atoms[term, column, lane]
            for axis in range(3):
                forces[i, axis] += work[3, axis, lane]


@lane_function
def subtract_force(forces: Any, atoms: Any, term: Any, column: Any, work: Any, force: Any) -> None:
    """Subtract a force from the atom in a column of a term."""
    if forces.ndim == 3:
        subtract_from(forces, atoms[term, column], force)
    else:
        add_force(forces, atoms, term, column, work, scaled(force, -1.0))


@lane_function
def energy_before(energies: Any, row: Any, numbers: Any) -> Any:
    """Lane value to add a term's energy to: the sum so far over replicas, otherwise 0 in the type of `numbers`."""
    if energies is not None:  # noqa: SIM102  numba prunes one condition at a time
        if energies.ndim == 2:
            return load(energies, (row,))
    return filled(numbers, 0.0)


@lane_function
def energy_after(energies: Any, row: Any, energy: Any) -> None:
    """Keep what began with `energy_before`; over terms, the sum over the lanes is added to `energies` (row,)."""
    if energies is not None:
        if energies.ndim == 2:
            store(energies, (row,), energy)
        else:
            energies[row] += lane_sum(energy)
