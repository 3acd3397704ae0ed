"""Forces between an atom and blocks of sixteen others: Lennard-Jones with a cutoff or a switch, and reaction field.

Coordinates are integers, a whole turn of their type for an edge of the box: their differences wrap round to the
nearest image by themselves, and are exact before they are rounded to the precision of the run.
"""

from typing import Any, NamedTuple

import numpy as np

from mdgen.md.kernels.box.selection import lane_sum, select_bits
from mdgen.md.kernels.lane_instructions import converted, maximum, minimum, reciprocal_root, select_less
from mdgen.md.kernels.lane_math import lane_function
from mdgen.md.kernels.lanes import LANES, filled, load, store

_FAR = 1e6
"""Square distance in nm^2 given to pairs that do not count: beyond any cutoff."""


class PairTables(NamedTuple):
    """Normal pairs; `number` is float32 or float64.

    Args:
        charges: number (atom,): charges times the root of the Coulomb constant.
        kinds: int64 (atom,).
        strengths: number (kind, kind, 2): 48 epsilon sigma^12 and 24 epsilon sigma^6 of each pair of kinds.
        acts: int64 (kind,): 0 where a kind has no Lennard-Jones with any other.
        square: number (1,): of the cutoff.
        field: number (2,): reaction field's k and c.
        switch: number (2,): where the switch begins and its inverse width; None where Lennard-Jones is cut.
    """

    charges: np.ndarray
    kinds: np.ndarray
    strengths: np.ndarray
    acts: np.ndarray
    square: np.ndarray
    field: np.ndarray
    switch: np.ndarray | None


@lane_function
def _dispersion(square: Any, inverse: Any, inverse_square: Any, a: Any, b: Any, switch: Any, energies: Any) -> Any:
    """Force over distance times the square distance, and energy, of Lennard-Jones."""
    sixth = inverse_square * inverse_square * inverse_square
    pull = (a * sixth - b) * sixth
    if switch is None:
        if energies is None:
            return pull, pull
        return pull, (a * sixth * (1.0 / 12.0) - b * (1.0 / 6.0)) * sixth
    energy = (a * sixth * (1.0 / 12.0) - b * (1.0 / 6.0)) * sixth
    t = maximum((square * inverse - switch[0]) * switch[1], 0.0)
    t = minimum(t, 1.0)
    s = 1.0 - t * t * t * (10.0 - t * (15.0 - 6.0 * t))
    slope = (-30.0 * switch[1]) * (t * t) * ((1.0 - t) * (1.0 - t))
    return pull * s - energy * slope * (square * inverse), energy * s


@lane_function
def _visit(
    first: Any,
    last: Any,
    atom: Any,
    charge: Any,
    kind: Any,
    near: Any,
    space: Any,
    numbers: Any,
    masked: Any,
    lennard_jones: Any,
    energies: Any,
) -> Any:
    """Forces of entries `first` to `last` of the list: on the atom as a result, on the others added in place."""
    field, switch, limit = numbers.field, numbers.switch, numbers.square[0]
    here_x, here_y, here_z = atom
    scale_x, scale_y, scale_z = space.scale[0], space.scale[1], space.scale[2]
    response = 2.0 * field[0] * charge
    total_x, total_y, total_z = filled(space.scale, 0.0), filled(space.scale, 0.0), filled(space.scale, 0.0)
    dispersed, charged = filled(space.scale, 0.0), filled(space.scale, 0.0)
    for entry in range(first, last):
        block = near.blocks[entry]
        charges = load(space.charges, (block,))
        dx = converted(here_x - load(space.grid, (0, block)), charges) * scale_x
        dy = converted(here_y - load(space.grid, (1, block)), charges) * scale_y
        dz = converted(here_z - load(space.grid, (2, block)), charges) * scale_z
        square = dx * dx + dy * dy + dz * dz
        if masked is not None:
            square = select_bits(near.masks[entry], square, _FAR)
        inverse = reciprocal_root(square)
        inverse_square = inverse * inverse
        pull = charges * charge * inverse
        if lennard_jones is not None:
            a, b = load(space.strengths, (kind, 0, block)), load(space.strengths, (kind, 1, block))
            of_dispersion, energy = _dispersion(square, inverse, inverse_square, a, b, switch, energies)
            pull = pull + of_dispersion
            if energies is not None:
                dispersed = dispersed + select_less(square, limit, energy, 0.0)
        if energies is not None:
            energy = charges * charge * (inverse + field[0] * square - field[1])
            charged = charged + select_less(square, limit, energy, 0.0)
        pull = select_less(square, limit, inverse_square * pull - charges * response, 0.0)
        total_x = total_x + pull * dx
        total_y = total_y + pull * dy
        total_z = total_z + pull * dz
        store(space.forces, (0, block), load(space.forces, (0, block)) - pull * dx)
        store(space.forces, (1, block), load(space.forces, (1, block)) - pull * dy)
        store(space.forces, (2, block), load(space.forces, (2, block)) - pull * dz)
    if energies is not None:
        energies[4] += lane_sum(dispersed)
        energies[5] += lane_sum(charged)
    return lane_sum(total_x), lane_sum(total_y), lane_sum(total_z)


@lane_function
def pair_forces(near: Any, space: Any, tables: Any, energies: Any) -> None:
    """Write the forces of all normal pairs to `space.forces`; with `energies`, add those to elements 4 and 5.

    Entries of an atom without a mask come first, then those with one.
    """
    space.forces[:] = 0.0
    for atom in range(tables.charges.shape[0]):
        block, lane = atom // LANES, atom % LANES
        here = space.grid[0, block, lane], space.grid[1, block, lane], space.grid[2, block, lane]
        charge, kind = space.charges[block, lane], space.kinds[atom]
        first, middle, last = near.starts[atom, 0], near.starts[atom, 1], near.starts[atom, 2]
        if tables.acts[kind]:
            x, y, z = _visit(first, middle, here, charge, kind, near, space, tables, None, True, energies)
            p, q, r = _visit(middle, last, here, charge, kind, near, space, tables, True, True, energies)
        else:
            x, y, z = _visit(first, middle, here, charge, kind, near, space, tables, None, None, energies)
            p, q, r = _visit(middle, last, here, charge, kind, near, space, tables, True, None, energies)
        space.forces[0, block, lane] += x + p
        space.forces[1, block, lane] += y + q
        space.forces[2, block, lane] += z + r
