"""Lennard-Jones, Coulomb and generalised Born over half the pairs, in three sweeps.

1. Born radii: distances and pairwise descreening; its two derivatives a pair are kept for the third sweep.
2. Pair energies: what needs distances and Born radii alone, with dE/dB.
3. Forces: the pair's own and those through the Born radii, added once.

No cutoff: this is for molecules of up to a few hundred atoms. Pairs run over `i < j` as in `ForceTables.pairs`.

Reference for the pair function of the second: Still et al., JACS 1990, 112, 6127.
"""

from typing import Any

from mdgen.md.engines.lanes.jit import lane_function
from mdgen.md.engines.lanes.lane_instructions import reciprocal_root
from mdgen.md.engines.lanes.lane_math import LN_2, exp2
from mdgen.md.engines.lanes.lanes import filled, load, store
from mdgen.md.engines.lanes.pair_laws import coulomb, lennard_jones
from mdgen.md.engines.lanes.replicas.born_radii import (
    EXPONENT,
    GRADIENT,
    INVERSE,
    RADIUS,
    RESPONSE,
    SLOPE_I,
    SLOPE_J,
    SQUARE,
    descreening_sweep,
    effective_radii,
)
from mdgen.md.engines.lanes.vectors import dot, load_vector, minus, plus, scaled, store_vector, subtract_from

FORCE = SQUARE
"""The second sweep replaces r^2 by the force over r."""


@lane_function
def _pair(inverse: Any, charges: Any, repulsion: Any, dispersion: Any) -> Any:
    """Force over distance of Lennard-Jones and Coulomb, and their energies."""
    inverse_square = inverse * inverse
    pull, dispersed = lennard_jones(inverse_square, repulsion, dispersion)
    charged = coulomb(charges, inverse)
    return inverse_square * (pull + charged), dispersed, charged


@lane_function
def _energy_sweep(tables: Any, pairs: Any, born: Any, energies: Any) -> None:
    """Replace r^2 of each pair by its force over r at fixed Born radii, and add up dE/dB."""
    atoms = born.shape[1]
    pair = 0
    energy = filled(pairs, 0.0)
    solvation = filled(pairs, 0.0)
    for i in range(atoms):
        radius_i = load(born, (RADIUS, i))
        exponent_i = load(born, (EXPONENT, i))
        gradient_i = load(born, (GRADIENT, i))
        for j in range(i + 1, atoms):
            square = load(pairs, (pair, SQUARE))
            inverse = load(pairs, (pair, INVERSE))
            charges, solvated = tables.pairs[pair, 0], tables.pairs[pair, 3]
            repulsion, dispersion = tables.pairs[pair, 1], tables.pairs[pair, 2]
            force, dispersed, charged = _pair(inverse, charges, repulsion, dispersion)

            radius_j = load(born, (RADIUS, j))
            product = radius_i * radius_j
            exponent = -square * exponent_i * load(born, (EXPONENT, j))
            decay = exp2(exponent)
            inverse_f = reciprocal_root(square + product * decay)
            still = solvated * inverse_f
            cubed = still * inverse_f * inverse_f
            by_product = (0.5 * cubed) * (decay - LN_2 * exponent * decay)
            gradient_i = gradient_i + by_product * radius_j
            store(born, (GRADIENT, j), load(born, (GRADIENT, j)) + by_product * radius_i)
            store(pairs, (pair, FORCE), force + cubed * (0.25 * decay - 1.0))
            if energies is not None:
                energy = energy + dispersed + charged
                solvation = solvation - still
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
    descreening_sweep(positions, tables, pairs, born)
    effective_radii(tables, born, energies)
    _energy_sweep(tables, pairs, born, energies)
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
            strength, dispersed, charged = _pair(inverse, charges, repulsion, dispersion)
            force = scaled(between, strength)
            force_i = plus(force_i, force)
            subtract_from(forces, j, force)
            if energies is not None:
                energy = energy + dispersed + charged
            pair += 1
        store_vector(forces, i, force_i)
    if energies is not None:
        store(energies, (5,), energy)
