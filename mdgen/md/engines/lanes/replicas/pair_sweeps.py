"""Lennard-Jones, Coulomb and generalised Born over half the pairs, in three sweeps.

1. Born radii: distances and pairwise descreening; its two derivatives a pair are kept for the third sweep.
2. Pair energies: what needs distances and Born radii alone, with dE/dB.
3. Forces: the pair's own and those through the Born radii, added once.

This is for molecules of up to a few hundred atoms. Pairs run over `i < j` as in `ForceTables.pairs`. Generalised Born
may have a cutoff; a pair that no replica has within it is passed over. Sweeps have the cutoff of the tables as an
argument of its own, so that nothing of it is compiled where there is none.
"""

from typing import Any

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
from mdgen.md.engines.lanes.vectors import dot, load_vector, minus, plus, scaled, store_vector, subtract_from
from mdgen.simd.jit import lane_function
from mdgen.simd.lane_instructions import bits_less, reciprocal_root, select_less
from mdgen.simd.lanes import filled, load, store

SQUARE, INVERSE, SLOPE_I, SLOPE_J = 0, 1, 2, 3
"""Rows of the work space of a pair: r^2, 1/r, and the slopes over r of the descreening of i by j and of j by i."""

FORCE = SQUARE
"""The second sweep replaces r^2 by the force over r."""


@lane_function
def _store_pair(pairs: Any, pair: Any, square: Any, inverse: Any, slope_i: Any, slope_j: Any) -> None:
    store(pairs, (pair, SQUARE), square)
    store(pairs, (pair, INVERSE), inverse)
    store(pairs, (pair, SLOPE_I), slope_i)
    store(pairs, (pair, SLOPE_J), slope_j)


@lane_function
def descreening_sweep(positions: Any, tables: Any, pairs: Any, born: Any, cutoff: Any) -> None:
    """Sum the descreening of every atom into `born[RADIUS]` and keep distances and slopes in `pairs`."""
    atoms = positions.shape[0]
    atom = tables.born_atoms
    for i in range(atoms):
        store(born, (RADIUS, i), filled(positions, 0.0))
    pair = 0
    for i in range(atoms):
        here = load_vector(positions, i)
        total = load(born, (RADIUS, i))
        offset_i, scaled_i, distance_i = atom[i, 0], atom[i, 2], atom[i, 5]
        atom_i = offset_i, atom[i, 1], scaled_i
        for j in range(i + 1, atoms):
            between = minus(here, load_vector(positions, j))
            square = dot(between, between)
            inverse = reciprocal_root(square)
            if cutoff is not None:  # noqa: SIM102  numba prunes one condition at a time
                if bits_less(square, cutoff.square[0]) == 0:
                    _store_pair(pairs, pair, square, inverse, filled(pairs, 0.0), filled(pairs, 0.0))
                    pair += 1
                    continue
            r = square * inverse
            reach = max(offset_i + abs(atom[j, 2]), atom[j, 0] + abs(scaled_i), distance_i, atom[j, 5])
            atom_j = atom[j, 0], atom[j, 1], atom[j, 2]
            of_i, slope_i, of_j, slope_j = descreening(square, inverse, atom_i, atom_j, reach)
            if tables.necks.shape[0] > 0:
                rows = tables.necks
                neck_i, neck_slope_i = neck(r, inverse, rows[pair, 0], rows[pair, 1], rows[pair, 2])
                neck_j, neck_slope_j = neck(r, inverse, rows[pair, 0], rows[pair, 3], rows[pair, 4])
                of_i, slope_i = of_i + neck_i, slope_i + neck_slope_i
                of_j, slope_j = of_j + neck_j, slope_j + neck_slope_j
            if cutoff is not None:
                limit = cutoff.square[0]
                of_i, slope_i = select_less(square, limit, of_i, 0.0), select_less(square, limit, slope_i, 0.0)
                of_j, slope_j = select_less(square, limit, of_j, 0.0), select_less(square, limit, slope_j, 0.0)
            total = total + of_i
            store(born, (RADIUS, j), load(born, (RADIUS, j)) + of_j)
            _store_pair(pairs, pair, square, inverse, slope_i, slope_j)
            pair += 1
        store(born, (RADIUS, i), total)


@lane_function
def _force_to_cutoff(
    square: Any, inverse: Any, charges: Any, repulsion: Any, dispersion: Any, normal: Any, cutoff: Any
) -> Any:
    """What `pair_force` gives, which ends at the cutoff for pairs that are no exceptions."""
    if not normal:
        return pair_force(inverse, charges, repulsion, dispersion)
    force, dispersed, charged = pair_force_to_cutoff(square, inverse, charges, repulsion, dispersion, cutoff)
    limit = cutoff.square[0]
    force, dispersed = select_less(square, limit, force, 0.0), select_less(square, limit, dispersed, 0.0)
    return force, dispersed, select_less(square, limit, charged, 0.0)


@lane_function
def _energy_sweep(tables: Any, pairs: Any, born: Any, energies: Any, cutoff: Any) -> None:
    """Replace r^2 of each pair by its force over r at fixed Born radii, and add up dE/dB."""
    atoms = born.shape[1]
    pair, salt = 0, (tables.salt[0], tables.salt[1])
    energy = filled(pairs, 0.0)
    solvation = filled(pairs, 0.0)
    for i in range(atoms):
        radius_i = load(born, (RADIUS, i))
        exponent_i = load(born, (EXPONENT, i))
        gradient_i = load(born, (GRADIENT, i))
        for j in range(i + 1, atoms):
            square = load(pairs, (pair, SQUARE))
            inverse = load(pairs, (pair, INVERSE))
            if cutoff is not None:  # noqa: SIM102  numba prunes one condition at a time
                if tables.normal[pair] and bits_less(square, cutoff.square[0]) == 0:
                    store(pairs, (pair, FORCE), filled(pairs, 0.0))
                    pair += 1
                    continue
            charges, solvated = tables.pairs[pair, 0], tables.pairs[pair, 3]
            repulsion, dispersion = tables.pairs[pair, 1], tables.pairs[pair, 2]
            if cutoff is None:
                force, dispersed, charged = pair_force(inverse, charges, repulsion, dispersion)
            else:
                force, dispersed, charged = _force_to_cutoff(
                    square, inverse, charges, repulsion, dispersion, tables.normal[pair], cutoff
                )

            radius_j = load(born, (RADIUS, j))
            born_j = radius_j, load(born, (EXPONENT, j))
            born_i = radius_i, exponent_i
            polarised, through_solvent, by_product = still(square, solvated, born_i, born_j, salt, cutoff)
            if cutoff is not None:
                limit = cutoff.square[0]
                polarised = select_less(square, limit, polarised, 0.0)
                through_solvent = select_less(square, limit, through_solvent, 0.0)
                by_product = select_less(square, limit, by_product, 0.0)
            gradient_i = gradient_i + by_product * radius_j
            store(born, (GRADIENT, j), load(born, (GRADIENT, j)) + by_product * radius_i)
            store(pairs, (pair, FORCE), force + through_solvent)
            if energies is not None:
                energy = energy + dispersed + charged
                solvation = solvation + polarised
            pair += 1
        store(born, (GRADIENT, i), gradient_i)
    if energies is not None:
        store(energies, (5,), energy)
        store(energies, (6,), load(energies, (6,)) + solvation)


@lane_function
def _force_sweep(positions: Any, forces: Any, pairs: Any, born: Any) -> None:
    """Add the forces of all pairs, with those through the Born radii by the chain rule."""
    atoms = positions.shape[0]
    for i in range(atoms):
        store(born, (RESPONSE, i), load(born, (RESPONSE, i)) * load(born, (GRADIENT, i)))
    pair = 0
    for i in range(atoms):
        here = load_vector(positions, i)
        response = load(born, (RESPONSE, i))
        force_i = load_vector(forces, i)
        for j in range(i + 1, atoms):
            through_i = response * load(pairs, (pair, SLOPE_I))
            through_j = load(born, (RESPONSE, j)) * load(pairs, (pair, SLOPE_J))
            strength = load(pairs, (pair, FORCE)) - (through_i + through_j)
            force = scaled(minus(here, load_vector(positions, j)), strength)
            force_i = plus(force_i, force)
            subtract_from(forces, j, force)
            pair += 1
        store_vector(forces, i, force_i)


@lane_function
def born_forces(positions: Any, forces: Any, tables: Any, pairs: Any, born: Any, energies: Any) -> None:
    """Add the forces of Lennard-Jones, Coulomb and generalised Born.

    Args:
        positions: (atom, 3, lane).
        forces: (atom, 3, lane), added to.
        tables: `ForceTables`.
        pairs: work space (pair, 4, lane).
        born: work space (4, atom, lane).
        energies: (7, lane), rows 5 and 6 added to; None where no energy is wanted, which compiles it away.
    """
    descreening_sweep(positions, tables, pairs, born, tables.cutoff)
    effective_radii(tables.born_atoms, born, (tables.salt[0], tables.salt[1]), 1.0, energies)
    _energy_sweep(tables, pairs, born, energies, tables.cutoff)
    _force_sweep(positions, forces, pairs, born)


@lane_function
def vacuum_forces(positions: Any, forces: Any, tables: Any, energies: Any) -> None:
    """Add the forces of Lennard-Jones and Coulomb alone; arguments as for `born_forces`."""
    atoms = positions.shape[0]
    pair = 0
    energy = filled(positions, 0.0)
    for i in range(atoms):
        here = load_vector(positions, i)
        force_i = load_vector(forces, i)
        for j in range(i + 1, atoms):
            between = minus(here, load_vector(positions, j))
            inverse = reciprocal_root(dot(between, between))
            charges, repulsion, dispersion = tables.pairs[pair, 0], tables.pairs[pair, 1], tables.pairs[pair, 2]
            strength, dispersed, charged = pair_force(inverse, charges, repulsion, dispersion)
            force = scaled(between, strength)
            force_i = plus(force_i, force)
            subtract_from(forces, j, force)
            if energies is not None:
                energy = energy + dispersed + charged
            pair += 1
        store_vector(forces, i, force_i)
    if energies is not None:
        store(energies, (5,), energy)
