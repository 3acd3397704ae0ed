"""Lennard-Jones, Coulomb and generalised Born of all pairs of one molecule, in three sweeps over rows of pairs.

1. Born radii: pairwise descreening; its two slopes a pair are kept for the third sweep.
2. Pair energies: forces at fixed Born radii, and dE/dB.
3. Forces through the Born radii.

A row is an atom i with the blocks of atoms from its own on. In its own block, the atom itself and those before it are
put so far away that nothing of them is left. With a cutoff the first sweep keeps which blocks have an atom within it,
and all three pass over the others. Rows are divided into parts, each with sums of its own: parts may run on any
threads, and their sums are added in one order.
"""

from typing import Any, NamedTuple

import numpy as np

from mdgen.md.engines.lanes.born_laws import (
    EXPONENT,
    GRADIENT,
    RADIUS,
    RESPONSE,
    descreening,
    effective_radii,
    neck,
    still,
)
from mdgen.md.engines.lanes.pair_laws import pair_force, pair_force_to_cutoff
from mdgen.md.engines.lanes.vectors import add_to, dot, load_vector, minus, plus, scaled, subtract_from
from mdgen.simd.jit import lane_function
from mdgen.simd.lane_instructions import (
    bits_less,
    lane_sum,
    maximum,
    reciprocal_root,
    select_less,
    select_set,
)
from mdgen.simd.lanes import LANES, filled, load, store

_ALL = (1 << LANES) - 1
_FAR_SQUARE_NM2 = 1e30


class PairSpace(NamedTuple):
    """Work space of the sweeps.

    Args:
        rows: int64 (part + 1,): first row of each part.
        coordinates: number (block, 3, lane); lanes beyond the last atom lie far away.
        descreened: number (part, block, lane): sums of the first sweep.
        slopes: number (entry, 2, lane): slopes over r of the descreening of i by j and of j by i.
        within: bool (entry,): whether any atom of the block is within the cutoff; empty without one.
        born: number (part, 4, block, lane): see `born_laws.RADIUS`.
        forces: number (part, block, 3, lane).
    """

    rows: np.ndarray
    coordinates: np.ndarray
    descreened: np.ndarray
    slopes: np.ndarray
    within: np.ndarray
    born: np.ndarray
    forces: np.ndarray


@lane_function
def entries_before(row: Any, blocks: Any) -> Any:
    """Entries, an atom with a block each, of all rows before one."""
    whole, rest = row // LANES, row % LANES
    return blocks * row - LANES * (whole * (whole - 1) // 2) - rest * whole


@lane_function
def _apart(here: Any, x: Any, i: Any, block: Any) -> Any:
    """Vectors from the atoms of a block to an atom, and their squares."""
    between = minus(here, load_vector(x, block))
    later = _ALL if block > i // LANES else _ALL << (i % LANES + 1)
    return between, select_set(later, dot(between, between), _FAR_SQUARE_NM2)


@lane_function
def _at(array: Any, i: Any) -> Any:
    """Three numbers of an atom from an array (block, 3 or more, lane)."""
    block, lane = i // LANES, i % LANES
    return array[block, 0, lane], array[block, 1, lane], array[block, 2, lane]


@lane_function
def _ended(square: Any, limit: Any, of_i: Any, slope_i: Any, of_j: Any, slope_j: Any) -> Any:
    """Descreening both ways and its slopes where `square` is below `limit`, and zeros elsewhere."""
    return (
        select_less(square, limit, of_i, 0.0),
        select_less(square, limit, slope_i, 0.0),
        select_less(square, limit, of_j, 0.0),
        select_less(square, limit, slope_j, 0.0),
    )


@lane_function
def descreening_part(part: Any, tables: Any, space: Any, cutoff: Any) -> None:
    """Sum the descreening of the pairs in a part, and keep its slopes and what is within the cutoff.

    `cutoff` is that of the tables, as an argument of its own: so what it asks for is compiled only where it is.
    """
    x, atoms, necks, sums, slopes = (
        space.coordinates,
        tables.born_atoms,
        tables.necks,
        space.descreened[part],
        space.slopes,
    )
    blocks = x.shape[0]
    for block in range(blocks):
        store(sums, (block,), filled(x, 0.0))
    for i in range(space.rows[part], space.rows[part + 1]):
        own, lane = i // LANES, i % LANES
        here, atom_i, reach_i = _at(x, i), _at(atoms, i), atoms[own, 5, lane]
        apart_i, kind = atoms[own, 3, lane] + tables.factors[1], tables.kinds[1, i]
        total, before = filled(x, 0.0), entries_before(i, blocks) - own
        for block in range(own, blocks):
            _, square = _apart(here, x, i, block)
            if cutoff is not None:
                within = bits_less(square, cutoff.square[0]) != 0
                space.within[before + block] = within
                if not within:
                    continue
            inverse = reciprocal_root(square)
            reach = maximum(load(atoms, (block, 5)), reach_i)
            of_i, slope_i, of_j, slope_j = descreening(square, inverse, atom_i, load_vector(atoms, block), reach)
            if necks.shape[0] > 0:
                r, reach = square * inverse, load(atoms, (block, 3)) + apart_i
                if bits_less(r, reach):
                    distance_i, height_i = load(necks, (kind, block, 0)), load(necks, (kind, block, 1))
                    distance_j, height_j = load(necks, (kind, block, 2)), load(necks, (kind, block, 3))
                    neck_i, neck_slope_i = neck(r, inverse, reach, distance_i, height_i)
                    neck_j, neck_slope_j = neck(r, inverse, reach, distance_j, height_j)
                    of_i, slope_i = of_i + neck_i, slope_i + neck_slope_i
                    of_j, slope_j = of_j + neck_j, slope_j + neck_slope_j
            if cutoff is not None:
                of_i, slope_i, of_j, slope_j = _ended(square, cutoff.square[0], of_i, slope_i, of_j, slope_j)
            total = total + of_i
            store(sums, (block,), load(sums, (block,)) + of_j)
            store(slopes, (before + block, 0), slope_i)
            store(slopes, (before + block, 1), slope_j)
        sums[own, lane] += lane_sum(total)


@lane_function
def radii_part(part: Any, tables: Any, space: Any, energies: Any) -> None:
    """Born radii from the sums of all parts, for one part, which counts its share of what belongs to single atoms."""
    born, parts = space.born[part], space.descreened.shape[0]
    for block in range(born.shape[1]):
        total = load(space.descreened, (0, block))
        for other in range(1, parts):
            total = total + load(space.descreened, (other, block))
        store(born, (RADIUS, block), total)
    effective_radii(tables.born_atoms, born, (tables.salt[0], tables.salt[1]), 1.0 / parts, energies)


@lane_function
def pair_part(part: Any, tables: Any, space: Any, energies: Any, cutoff: Any) -> None:
    """Forces of the pairs in a part at fixed Born radii, and their part of dE/dB; energies to elements 5 and 6.

    Energies are float64: in single precision, the rounding of a sum over all pairs would grow with their number.
    """
    x, born, forces, solvated = space.coordinates, space.born[part], space.forces[part], tables.born_atoms.shape[0] > 0
    blocks, salt = x.shape[0], (tables.salt[0], tables.salt[1])
    zero = filled(x, 0.0)
    for block in range(blocks):
        for axis in range(3):
            store(forces, (block, axis), zero)
    for i in range(space.rows[part], space.rows[part + 1]):
        own, lane = i // LANES, i % LANES
        here, kind, charge = _at(x, i), tables.kinds[0, i], tables.charges[own, lane]
        in_solvent = charge * tables.factors[0]
        born_i = born[RADIUS, own, lane], born[EXPONENT, own, lane]
        on_i, gradient_i, energy, polarised = (zero, zero, zero), zero, zero, zero
        before = entries_before(i, blocks) - own
        for block in range(own, blocks):
            if cutoff is not None:  # noqa: SIM102  numba prunes one condition at a time
                if not space.within[before + block]:
                    continue
            between, square = _apart(here, x, i, block)
            charges, strengths, mask = load(tables.charges, (block,)), tables.strengths, tables.masks[i, block]
            a, b = load(strengths, (kind, block, 0)), load(strengths, (kind, block, 1))
            inverse = reciprocal_root(square)
            if cutoff is None:
                pull, dispersed, charged = pair_force(inverse, charges * charge, a, b)
            else:
                pull, dispersed, charged = pair_force_to_cutoff(square, inverse, charges * charge, a, b, cutoff)
            pull = select_set(mask, pull, 0.0)
            if energies is not None:
                of_pair = dispersed + charged
                if cutoff is not None:
                    of_pair = select_less(square, cutoff.square[0], of_pair, 0.0)
                energy = energy + select_set(mask, of_pair, 0.0)
            if solvated:
                born_j = load(born, (RADIUS, block)), load(born, (EXPONENT, block))
                in_both = charges * in_solvent
                of_pair, through_solvent, by_product = still(square, in_both, born_i, born_j, salt, cutoff)
                if cutoff is not None:
                    of_pair = select_less(square, cutoff.square[0], of_pair, 0.0)
                    by_product = select_less(square, cutoff.square[0], by_product, 0.0)
                gradient_i = gradient_i + by_product * born_j[0]
                store(born, (GRADIENT, block), load(born, (GRADIENT, block)) + by_product * born_i[0])
                pull = pull + through_solvent
                if energies is not None:
                    polarised = polarised + of_pair
            if cutoff is not None:
                pull = select_less(square, cutoff.square[0], pull, 0.0)
            force = scaled(between, pull)
            on_i = plus(on_i, force)
            subtract_from(forces, block, force)
        born[GRADIENT, own, lane] += lane_sum(gradient_i)
        _add(forces, own, lane, on_i)
        if energies is not None:
            energies[5] += lane_sum(energy)
            energies[6] += lane_sum(polarised)


@lane_function
def _add(forces: Any, block: Any, lane: Any, force: Any) -> None:
    x, y, z = force
    forces[block, 0, lane] += lane_sum(x)
    forces[block, 1, lane] += lane_sum(y)
    forces[block, 2, lane] += lane_sum(z)


@lane_function
def response_part(part: Any, tables: Any, space: Any, cutoff: Any) -> None:
    """Add the forces through the Born radii of the pairs in a part, by the chain rule."""
    x, born, forces, slopes = space.coordinates, space.born[part], space.forces[part], space.slopes
    blocks, zero = x.shape[0], filled(x, 0.0)
    for block in range(blocks):
        gradient = load(space.born, (0, GRADIENT, block))
        for other in range(1, space.born.shape[0]):
            gradient = gradient + load(space.born, (other, GRADIENT, block))
        store(born, (RESPONSE, block), load(born, (RESPONSE, block)) * gradient)
    for i in range(space.rows[part], space.rows[part + 1]):
        own, lane = i // LANES, i % LANES
        here, response, on_i = _at(x, i), born[RESPONSE, own, lane], (zero, zero, zero)
        before = entries_before(i, blocks) - own
        for block in range(own, blocks):
            if cutoff is not None:  # noqa: SIM102  numba prunes one condition at a time
                if not space.within[before + block]:
                    continue
            between = minus(here, load_vector(x, block))
            through_i = load(slopes, (before + block, 0)) * response
            through_j = load(slopes, (before + block, 1)) * load(born, (RESPONSE, block))
            force = scaled(between, through_i + through_j)
            on_i = minus(on_i, force)
            add_to(forces, block, force)
        _add(forces, own, lane, on_i)
