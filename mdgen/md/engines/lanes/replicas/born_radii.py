"""Effective Born radii of sixteen replicas: pairwise descreening, necks, and what the radii respond to.

References:
    Hawkins, Cramer, Truhlar, J. Phys. Chem. 1996, 100, 19824 (pairwise descreening); Onufriev, Bashford, Case, Proteins
    2004, 55, 383 (OBC); Mongan et al., J. Chem. Theory Comput. 2007, 3, 156 (necks); Nguyen, Roe, Simmerling, J. Chem.
    Theory Comput. 2013, 9, 2020 (GBn2).
"""

from typing import Any

from mdgen.md.engines.lanes.jit import lane_function
from mdgen.md.engines.lanes.lane_instructions import (
    absolute,
    bits_less,
    maximum,
    minimum,
    polynomial,
    reciprocal_root,
    select_less,
)
from mdgen.md.engines.lanes.lane_math import LOG2_E, exp2, log
from mdgen.md.engines.lanes.lanes import filled, load, store
from mdgen.md.engines.lanes.vectors import dot, load_vector, minus

SQUARE, INVERSE, SLOPE_I, SLOPE_J = 0, 1, 2, 3
"""Rows of the work space of a pair: r^2, 1/r, and the slopes over r of the descreening of i by j and of j by i."""

RADIUS, EXPONENT, GRADIENT, RESPONSE = 0, 1, 2, 3
"""Rows of the work space of an atom: Born radius B, sqrt(log2(e)) / (2 B), dE/dB, and dB/dI of the descreening I."""

PROBE_NM = 0.14
DISTANT = 0.28
"""Where the polynomial for distant atoms ends: largest (scaled radius / distance)^2."""


@lane_function
def _descreening(square: Any, inverse_r: Any, offset_radius: Any, inverse_radius: Any, scaled_radius: Any) -> Any:
    """How much a sphere of `scaled_radius` at `r` descreens an atom, and `d/dr` of it over `r`.

    With `U = max(r + s, rho)`, `L = max(|r - s|, rho)`, `q = L/U`, `D = (q^2 - 1)/(8 L^2)` and `l = ln(q)/4`:
    `I = (1 - q)/(2 L) + ((r^2 - s^2) D + l)/r`, plus `1/rho - 1/L` where the sphere swallows the atom. I does not
    change with U or L at fixed r, so the slope is that at fixed U and L: `((r^2 + s^2) D - l)/r^2`.

    Where atoms are bonded that difference is a small part of its terms, and dividing by r^3 enlarges what rounding left
    in it: most came from 1/U^2 - 1/L^2 with rounded inverses and from the rounding of q. So both terms are
    taken over L^2, from one q, and are corrected for the rounding of q.
    """
    r = square * inverse_r
    upper = maximum(r + scaled_radius, offset_radius)
    lower = maximum(absolute(r - scaled_radius), offset_radius)
    inverse_lower = 1.0 / lower
    quotient = lower * (1.0 / upper)
    rounding = inverse_lower * (lower - quotient * upper)
    logarithm = log(quotient) + rounding
    quotient_square = quotient * quotient
    squares = (quotient_square - 1.0) + 2.0 * quotient_square * rounding
    scaled_square = scaled_radius * scaled_radius
    weight = 0.125 * inverse_lower * inverse_lower
    value = (0.5 * inverse_lower) * (1.0 - quotient)
    value = value + inverse_r * (weight * ((square - scaled_square) * squares) + 0.25 * logarithm)
    slope = (square + scaled_square) * squares - (2.0 * lower * lower) * logarithm
    slope = slope * (weight * (inverse_r * inverse_r * inverse_r))
    if scaled_radius < 0.0:
        # GBn2 gives sulphur a negative scale; as in OpenMM the term ends where r + s falls below rho.
        value = select_less(r + scaled_radius, offset_radius, 0.0, value)
        slope = select_less(r + scaled_radius, offset_radius, 0.0, slope)
    if scaled_radius > offset_radius:
        value = value + select_less(r + offset_radius, scaled_radius, inverse_radius - inverse_lower, 0.0)
    return value, slope


@lane_function
def _distant_descreening(inverse_square: Any, scaled_radius: Any) -> Any:
    """The same for `r > s + rho`, where L = r - s, without differences of nearly equal numbers.

    With `q = (s/r)^2` and `P(q) = (atanh(s/r) r/s - 1) / q` it is `I = s q / (2 r^2) (1/(1 - q) - P)`, with the slope
    `-s q / (2 r^3) ((3 - q)/(1 - q)^2 - P)`. P is a minimax polynomial for `q < DISTANT`, in single precision.
    """
    q = inverse_square * (scaled_radius * scaled_radius)
    w = 1.0 / (1.0 - q)
    p = polynomial(q, (0.198598297, 0.0355452465, 0.1224584733, 0.1417198073, 0.2000516047, 0.3333325593))
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
def descreening_sweep(positions: Any, tables: Any, pairs: Any, born: Any) -> None:
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
            if bits_less(r, reach):
                near_i, near_slope_i = _descreening(square, inverse, offset_i, inverse_offset_i, atom[j, 2])
                near_j, near_slope_j = _descreening(square, inverse, atom[j, 0], atom[j, 1], scaled_i)
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
def effective_radii(tables: Any, born: Any, energies: Any) -> None:
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
            store(energies, (6,), load(energies, (6,)) + itself + covered)
