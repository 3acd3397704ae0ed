"""Lennard-Jones, Coulomb and generalised Born over half the pairs, in three sweeps.

1. Born radii: distances and pairwise descreening; its two derivatives a pair are kept for the third sweep.
2. Pair energies: what needs distances and Born radii alone, with dE/dB.
3. Forces: the pair's own and those through the Born radii, added once.

No cutoff: this is for molecules of up to a few hundred atoms. Pairs run over `i < j` in the order of `PairTables`.

References:
    Onufriev, Bashford, Case, Proteins 2004, 55, 383 (OBC); Mongan et al., J. Chem. Theory Comput. 2007, 3, 156 (necks);
    Nguyen, Roe, Simmerling, J. Chem. Theory Comput. 2013, 9, 2020 (GBn2); Hawkins, Cramer, Truhlar, J. Phys. Chem.
    1996, 100, 19824 (pairwise descreening); Still et al., JACS 1990, 112, 6127 (the pair function).
"""

from typing import Any

from mdgen.md.kernels.lane_instructions import absolute, any_less, maximum, minimum, reciprocal_root, select_less
from mdgen.md.kernels.lane_math import LN_2, LOG2_E, exp2, lane_function, log
from mdgen.md.kernels.lanes import filled, load, store
from mdgen.md.kernels.vectors import dot, load_vector, minus, plus, scaled, store_vector, subtract_from

SQUARE, INVERSE, SLOPE_I, SLOPE_J = 0, 1, 2, 3
FORCE = SQUARE  # the second sweep replaces r^2 by the force over r
RADIUS, EXPONENT, GRADIENT, RESPONSE = 0, 1, 2, 3
PROBE_NM = 0.14
DISTANT = 0.28
"""Where the polynomial for distant atoms ends: largest (scaled radius / distance)^2."""


@lane_function
def _descreening(r: Any, inverse_r: Any, offset_radius: Any, inverse_radius: Any, scaled_radius: Any) -> Any:
    """How much a sphere of `scaled_radius` at `r` descreens an atom, and `d/dr` of it over `r`.

    With `U = max(r + s, rho)`, `L = max(|r - s|, rho)`:
    `I = (1/L - 1/U)/2 + (r - s^2/r)(1/U^2 - 1/L^2)/8 + ln(L/U)/(4 r)`, plus `1/rho - 1/L` where the sphere swallows the
    atom. I does not change with U or L at fixed r, so the slope is that at fixed U and L.
    """
    upper = maximum(r + scaled_radius, offset_radius)
    lower = maximum(absolute(r - scaled_radius), offset_radius)
    inverse = 1.0 / (lower * upper)
    inverse_lower = inverse * upper
    inverse_upper = inverse * lower
    quotient = lower * inverse_upper
    ratio = scaled_radius * inverse_r
    square = ratio * ratio
    squares = (inverse_upper - inverse_lower) * (inverse_upper + inverse_lower) * 0.125
    logarithm = (0.25 * inverse_r) * log(quotient)
    value = 0.5 * (inverse_lower - inverse_upper) + (r - r * square) * squares + logarithm
    slope = squares + square * squares - inverse_r * logarithm
    if scaled_radius < 0.0:
        # GBn2 gives sulphur a negative scale; as in OpenMM the term ends where r + s falls below rho.
        value = select_less(r + scaled_radius, offset_radius, 0.0, value)
        slope = select_less(r + scaled_radius, offset_radius, 0.0, slope)
    if scaled_radius > offset_radius:
        value = value + select_less(r + offset_radius, scaled_radius, inverse_radius - inverse_lower, 0.0)
    return value, slope * inverse_r


@lane_function
def _distant_descreening(inverse_square: Any, scaled_radius: Any) -> Any:
    """The same for `r > s + rho`, where L = r - s, without differences of nearly equal numbers.

    With `q = (s/r)^2` and `P(q) = (atanh(s/r) r/s - 1) / q` it is `I = s q / (2 r^2) (1/(1 - q) - P)`, with the slope
    `-s q / (2 r^3) ((3 - q)/(1 - q)^2 - P)`. P is a minimax polynomial for `q < DISTANT`, in single precision.
    """
    q = inverse_square * (scaled_radius * scaled_radius)
    w = 1.0 / (1.0 - q)
    p = 0.198598297 * q + 0.0355452465
    p = p * q + 0.1224584733
    p = p * q + 0.1417198073
    p = p * q + 0.2000516047
    p = p * q + 0.3333325593
    half = (0.5 * scaled_radius) * (inverse_square * q)
    return half * (w - p), half * inverse_square * (p - (3.0 - q) * (w * w))


@lane_function
def _neck(r: Any, inverse_r: Any, reach: Any, distance: Any, height: Any) -> Any:
    """What the neck between two atoms adds to the descreening of one, and `d/dr` of it over `r`.

    `h / (1 + 100 x^2 + 0.3e6 x^6)` with `x = r - distance`, up to `reach`.
    """
    x = r - distance
    square = x * x
    inverse = 1.0 / (1.0 + square * (100.0 + 0.3e6 * square * square))
    value = select_less(r, reach, height * inverse, 0.0)
    return value, -value * inverse * x * (200.0 + 1.8e6 * square * square) * inverse_r


@lane_function
def _descreening_sweep(positions: Any, tables: Any, pairs: Any, born: Any) -> None:
    """Sum the descreening of every atom into `born[RADIUS]` and keep distances and slopes in `pairs`."""
    atoms = positions.shape[0]
    atom = tables.born_atoms
    for i in range(atoms):
        store(born, (RADIUS, i), filled(positions, 0.0))
    pair = 0
    for i in range(atoms):
        here = load_vector(positions, i)
        total = load(born, (RADIUS, i))
        offset_i, inverse_offset_i, scaled_i, distance_i = atom[i, 0], atom[i, 1], atom[i, 2], atom[i, 5]
        for j in range(i + 1, atoms):
            between = minus(here, load_vector(positions, j))
            square = dot(between, between)
            inverse = reciprocal_root(square)
            r = square * inverse
            inverse_square = inverse * inverse
            of_i, slope_i = _distant_descreening(inverse_square, atom[j, 2])
            of_j, slope_j = _distant_descreening(inverse_square, scaled_i)
            reach = max(offset_i + abs(atom[j, 2]), atom[j, 0] + abs(scaled_i), distance_i, atom[j, 5])
            # Selected lane by lane, so that what one replica needs never shows in another's rounding.
            if any_less(r, reach):
                near_i, near_slope_i = _descreening(r, inverse, offset_i, inverse_offset_i, atom[j, 2])
                near_j, near_slope_j = _descreening(r, inverse, atom[j, 0], atom[j, 1], scaled_i)
                of_i = select_less(r, reach, near_i, of_i)
                of_j = select_less(r, reach, near_j, of_j)
                slope_i = select_less(r, reach, near_slope_i, slope_i)
                slope_j = select_less(r, reach, near_slope_j, slope_j)
            if tables.necks.shape[0] > 0:
                neck = tables.necks
                neck_i, neck_slope_i = _neck(r, inverse, neck[pair, 0], neck[pair, 1], neck[pair, 2])
                neck_j, neck_slope_j = _neck(r, inverse, neck[pair, 0], neck[pair, 3], neck[pair, 4])
                of_i, slope_i = of_i + neck_i, slope_i + neck_slope_i
                of_j, slope_j = of_j + neck_j, slope_j + neck_slope_j
            total = total + of_i
            store(born, (RADIUS, j), load(born, (RADIUS, j)) + of_j)
            store(pairs, (pair, SQUARE), square)
            store(pairs, (pair, INVERSE), inverse)
            store(pairs, (pair, SLOPE_I), slope_i)
            store(pairs, (pair, SLOPE_J), slope_j)
            pair += 1
        store(born, (RADIUS, i), total)


@lane_function
def _radii(tables: Any, born: Any, energies: Any) -> None:
    """Turn descreening sums into Born radii; start dE/dB with the self energy and the surface term.

    `1/B = 1/rho - tanh(alpha psi - beta psi^2 + gamma psi^3) / R` with `psi = rho I`.
    """
    surface = tables.surface[0]
    for i in range(born.shape[1]):
        offset_radius, inverse_offset = tables.born_atoms[i, 0], tables.born_atoms[i, 1]
        radius, self_energy = tables.born_atoms[i, 3], tables.born_atoms[i, 4]
        alpha, beta, gamma = tables.born_atoms[i, 6], tables.born_atoms[i, 7], tables.born_atoms[i, 8]
        psi = offset_radius * load(born, (RADIUS, i))
        argument = minimum(((gamma * psi - beta) * psi + alpha) * psi, 20.0)
        tangent = 1.0 - 2.0 / (1.0 + exp2((2.0 * LOG2_E) * argument))
        radius_of_born = 1.0 / (inverse_offset - tangent * (1.0 / radius))
        inverse = 1.0 / radius_of_born
        slope = (3.0 * gamma * psi - 2.0 * beta) * psi + alpha
        response = radius_of_born * radius_of_born * (1.0 - tangent * tangent) * slope * (offset_radius / radius)
        ratio = radius * inverse
        cube = ratio * ratio * ratio
        covered = surface * (radius + PROBE_NM) * (radius + PROBE_NM) * cube * cube
        itself = self_energy * inverse
        store(born, (RADIUS, i), radius_of_born)
        store(born, (EXPONENT, i), (0.5 * LOG2_E**0.5) * inverse)
        store(born, (GRADIENT, i), -(itself + 6.0 * covered) * inverse)
        store(born, (RESPONSE, i), response)
        if energies is not None:
            store(energies, (4,), load(energies, (4,)) + itself + covered)


@lane_function
def _lennard_jones(repulsion: Any, dispersion: Any, inverse_six: Any) -> Any:
    """The energy, from the factors of the force."""
    return (repulsion * inverse_six * (1.0 / 12.0) - dispersion * (1.0 / 6.0)) * inverse_six


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
            inverse_square = inverse * inverse
            coulomb = charges * inverse
            inverse_six = inverse_square * inverse_square * inverse_square
            force = inverse_square * ((repulsion * inverse_six - dispersion) * inverse_six + coulomb)

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
                energy = energy + _lennard_jones(repulsion, dispersion, inverse_six) + coulomb
                solvation = solvation - still
            pair += 1
        store(born, (GRADIENT, i), gradient_i)
    if energies is not None:
        store(energies, (3,), energy)
        store(energies, (4,), load(energies, (4,)) + solvation)


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
        energies: (5, lane), rows 3 and 4 added to; None where no energy is wanted, which compiles it away.
    """
    _descreening_sweep(positions, tables, pairs, born)
    _radii(tables, born, energies)
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
            inverse_square = inverse * inverse
            charges, repulsion, dispersion = tables.pairs[pair, 0], tables.pairs[pair, 1], tables.pairs[pair, 2]
            coulomb = charges * inverse
            inverse_six = inverse_square * inverse_square * inverse_square
            force = scaled(between, inverse_square * ((repulsion * inverse_six - dispersion) * inverse_six + coulomb))
            force_i = plus(force_i, force)
            subtract_from(forces, j, force)
            if energies is not None:
                energy = energy + _lennard_jones(repulsion, dispersion, inverse_six) + coulomb
            pair += 1
        store_vector(forces, i, force_i)
    if energies is not None:
        store(energies, (3,), energy)
