"""Forces between two atoms and blocks of sixteen others: Lennard-Jones and reaction field, switched or not.

Coordinates are integers, a whole turn of their type for an edge of the box: their differences wrap round to the
nearest image by themselves, and are exact before they are rounded to the precision of the run.
"""

from typing import Any, NamedTuple

import numpy as np

from mdgen.md.engines.lanes.pair_laws import lennard_jones, reaction_field_pull, switched
from mdgen.md.engines.lanes.vectors import dot, plus, scaled
from mdgen.simd.jit import lane_function
from mdgen.simd.lane_instructions import converted, lane_sum, reciprocal_root, select_within
from mdgen.simd.lanes import LANES, filled, load, load_at, store_at


class PairTables(NamedTuple):
    """Normal pairs; `number` is float32 or float64.

    Args:
        charges: number (atom,): charges times the root of the Coulomb constant.
        kinds: int64 (atom,).
        strengths: number (kind, kind, 2): 48 epsilon sigma^12 and 24 epsilon sigma^6 of each pair of kinds.
        acts: int64 (kind,): 0 where a kind has no Lennard-Jones with any other.
        square: number (1,): square of the cutoff.
        field: number (2,): reaction field's k and c.
        switch: number (2,): where the switch begins and its inverse width; None where Lennard-Jones is cut.
        coulomb_switch: the same of the reaction field; None where it is cut.
    """

    charges: np.ndarray
    kinds: np.ndarray
    strengths: np.ndarray
    acts: np.ndarray
    square: np.ndarray
    field: np.ndarray
    switch: np.ndarray | None
    coulomb_switch: np.ndarray | None


@lane_function
def _apart(here: Any, slot: Any, charges: Any, grid: Any, scale: Any) -> Any:
    """Vectors from a block to an atom."""
    like = load_at(charges, slot)
    dx = converted(here[0] - load_at(grid, 3 * slot), like) * scale[0]
    dy = converted(here[1] - load_at(grid, 3 * slot + LANES), like) * scale[1]
    dz = converted(here[2] - load_at(grid, 3 * slot + 2 * LANES), like) * scale[2]
    return dx, dy, dz


@lane_function
def _pair_with_block(
    here: Any, between: Any, others: Any, slot: Any, mask: Any, strengths: Any, numbers: Any, acts: Any, energies: Any
) -> Any:
    """Force between an atom and a block, and the two energies.

    `here` is an atom's three coordinates, its charge, twice k times that, and its row in the table of strengths.
    """
    charge, response, row = here[3], here[4], here[5]
    limit, field, square = numbers.square[0], numbers.field, dot(between, between)
    inverse = reciprocal_root(square)
    inverse_square = inverse * inverse
    charges = others * charge
    pull, potential, left = reaction_field_pull(
        charges, inverse, square, field, others * response, numbers.coulomb_switch
    )
    dispersed = charged = others
    if acts is not None:
        a, b = load_at(strengths, row + 2 * slot), load_at(strengths, row + 2 * slot + LANES)
        of_dispersion, energy = lennard_jones(inverse_square, a, b)
        of_dispersion, energy = switched(of_dispersion, energy, square * inverse, numbers.switch)
        pull = pull + of_dispersion
        if energies is not None:
            dispersed = select_within(square, limit, mask, energy)
    if energies is not None:
        charged = select_within(square, limit, mask, potential)
    pull = select_within(square, limit, mask, inverse_square * pull - left)
    return scaled(between, pull), dispersed, charged


@lane_function
def _visit(
    first: Any,
    last: Any,
    one: Any,
    two: Any,
    neighbours: Any,
    arrays: Any,
    scale: Any,
    numbers: Any,
    acts: Any,
    energies: Any,
) -> Any:
    """Forces of entries `first` to `last` of the list: on two atoms as a result, on the others added in place.

    Arrays are flat, and all that belongs to a block lies together: a multiple of its first slot finds it. Distances of
    the next entry are found while the forces of this one are: a processor does not see that far ahead by itself.
    """
    grid, charges, strengths, forces = arrays
    zero = filled(scale, 0.0)
    on_one, on_two, dispersed, charged = (zero, zero, zero), (zero, zero, zero), zero, zero
    slot = np.int64(load(neighbours.slots, (first,)))
    to_one, to_two = _apart(one, slot, charges, grid, scale), _apart(two, slot, charges, grid, scale)
    for entry in range(first, last):
        ahead = np.int64(load(neighbours.slots, (entry + 1,)))
        one_ahead, two_ahead = _apart(one, ahead, charges, grid, scale), _apart(two, ahead, charges, grid, scale)
        masks, others = load(neighbours.masks, (entry,)), load_at(charges, slot)
        force_one, dispersed_one, charged_one = _pair_with_block(
            one, to_one, others, slot, masks, strengths, numbers, acts, energies
        )
        force_two, dispersed_two, charged_two = _pair_with_block(
            two, to_two, others, slot, masks >> 16, strengths, numbers, acts, energies
        )
        on_one, on_two = plus(on_one, force_one), plus(on_two, force_two)
        if energies is not None:
            charged = charged + charged_one + charged_two
            if acts is not None:
                dispersed = dispersed + dispersed_one + dispersed_two
        both, place = plus(force_one, force_two), 3 * slot
        store_at(forces, place, load_at(forces, place) - both[0])
        store_at(forces, place + LANES, load_at(forces, place + LANES) - both[1])
        store_at(forces, place + 2 * LANES, load_at(forces, place + 2 * LANES) - both[2])
        slot, to_one, to_two = ahead, one_ahead, two_ahead
    if energies is not None:
        energies[5] += lane_sum(dispersed)
        energies[6] += lane_sum(charged)
    x, y, z = on_one
    p, q, r = on_two
    return lane_sum(x), lane_sum(y), lane_sum(z), lane_sum(p), lane_sum(q), lane_sum(r)


@lane_function
def _atom(slot: Any, ordered: Any, tables: Any) -> Any:
    """Coordinates, charge, twice k times the charge, and row of strengths of the atom in a slot."""
    block, lane = slot // LANES, slot % LANES
    charge = ordered.charges[block, lane]
    row = 2 * ordered.kinds.shape[0] * ordered.kinds[slot]
    grid = ordered.grid
    response = (tables.field[0] + tables.field[0]) * charge
    return grid[block, 0, lane], grid[block, 1, lane], grid[block, 2, lane], charge, response, row


@lane_function
def cutoff_pair_forces(neighbours: Any, ordered: Any, tables: Any, energies: Any) -> None:
    """Write the forces of all normal pairs to `ordered.forces`; with `energies`, add those to elements 5 and 6."""
    ordered.forces[:] = 0.0
    arrays = (
        ordered.grid.reshape(-1),
        ordered.charges.reshape(-1),
        ordered.strengths.reshape(-1),
        ordered.forces.reshape(-1),
    )
    numbers, scale = tables, ordered.scale
    for couple in range(neighbours.starts.shape[0] - 1):
        slot = 2 * couple
        one, two = _atom(slot, ordered, tables), _atom(slot + 1, ordered, tables)
        first, last = neighbours.starts[couple], neighbours.starts[couple + 1]
        if tables.acts[ordered.kinds[slot]] + tables.acts[ordered.kinds[slot + 1]]:
            on = _visit(first, last, one, two, neighbours, arrays, scale, numbers, True, energies)
        else:
            on = _visit(first, last, one, two, neighbours, arrays, scale, numbers, None, energies)
        block, lane = slot // LANES, slot % LANES
        for axis in range(3):
            ordered.forces[block, axis, lane] += on[axis]
            ordered.forces[block, axis, lane + 1] += on[3 + axis]
