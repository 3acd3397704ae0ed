"""Generalised Born: pairwise descreening, necks, effective radii, and the energy of pairs, for lanes of either kind.

Numbers of an atom are lane values or numbers alike, so that lanes may hold replicas of a pair or atoms of a molecule.

References:
    Hawkins, Cramer, Truhlar, J. Phys. Chem. 1996, 100, 19824 (pairwise descreening); Onufriev, Bashford, Case, Proteins
    2004, 55, 383 (OBC); Mongan et al., J. Chem. Theory Comput. 2007, 3, 156 (necks); Nguyen, Roe, Simmerling, J. Chem.
    Theory Comput. 2013, 9, 2020 (GBn2); Still et al., JACS 1990, 112, 6127 (energy of a pair).
"""

from typing import Any

from mdgen.md.engines.lanes.layouts import energy_after, energy_before
from mdgen.simd.jit import lane_function
from mdgen.simd.lane_instructions import (
    absolute,
    bits_less,
    maximum,
    minimum,
    polynomial,
    reciprocal_root,
    select_less,
)
from mdgen.simd.lane_math import LN_2, LOG2_E, exp2, log
from mdgen.simd.lanes import load, store

RADIUS, EXPONENT, GRADIENT, RESPONSE = 0, 1, 2, 3
"""Rows of the work space of an atom: Born radius B, sqrt(log2(e)) / (2 B), dE/dB, and dB/dI of the descreening I."""

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
    # A sphere within the atom takes nothing from it. GBn2 gives sulphur a negative scale; as in OpenMM its term ends
    # at the same place.
    value = select_less(r + scaled_radius, offset_radius, 0.0, value)
    slope = select_less(r + scaled_radius, offset_radius, 0.0, slope)
    return value + select_less(r + offset_radius, scaled_radius, inverse_radius - inverse_lower, 0.0), slope


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
def neck(r: Any, inverse_r: Any, reach: Any, distance: Any, height: Any) -> Any:
    """What the neck between two atoms adds to the descreening of one, and `d/dr` of it over `r`.

    `h / (1 + 100 x^2 + 0.3e6 x^6)` with `x = r - distance`, up to `reach`.
    """
    # Held at its reach, so that no power overflows beyond.
    x = minimum(r, reach) - distance
    square = x * x
    inverse = 1.0 / (1.0 + square * (100.0 + 0.3e6 * square * square))
    value = select_less(r, reach, height * inverse, 0.0)
    return value, -value * inverse * x * (200.0 + 1.8e6 * square * square) * inverse_r


@lane_function
def descreening(square: Any, inverse: Any, atom_i: Any, atom_j: Any, reach: Any) -> Any:
    """Descreening of i by j and `d/dr` of it over r, then those of j by i.

    Args:
        square: r^2 in nm^2.
        inverse: 1/r.
        atom_i: radius less offset, its inverse, and scaled radius.
        atom_j: the same of the other atom.
        reach: distance beyond which the polynomial for distant atoms holds both ways.
    """
    r = square * inverse
    inverse_square = inverse * inverse
    of_i, slope_i = _distant_descreening(inverse_square, atom_j[2])
    of_j, slope_j = _distant_descreening(inverse_square, atom_i[2])
    # Selected lane by lane, so that what one lane needs never shows in another's rounding.
    if bits_less(r, reach):
        near_i, near_slope_i = _descreening(square, inverse, atom_i[0], atom_i[1], atom_j[2])
        near_j, near_slope_j = _descreening(square, inverse, atom_j[0], atom_j[1], atom_i[2])
        of_i = select_less(r, reach, near_i, of_i)
        of_j = select_less(r, reach, near_j, of_j)
        slope_i = select_less(r, reach, near_slope_i, slope_i)
        slope_j = select_less(r, reach, near_slope_j, slope_j)
    return of_i, slope_i, of_j, slope_j


@lane_function
def _screened(f: Any, salt: Any, cutoff: Any) -> Any:
    """What salt multiplies an energy over f by, `t = 1 + g (1 - exp(-kappa f))`, and its slope: `t - f dt/df`.

    With a cutoff the energy is shifted before it is multiplied: the slope is `t - f dt/df (1 - f/r_c)`.
    """
    passed = salt[1] * exp2((-LOG2_E * salt[0]) * f)
    factor = 1.0 + (salt[1] - passed)
    change = salt[0] * f * passed
    if cutoff is not None:
        change = change * (1.0 - f * cutoff.inverse[0])
    return factor, factor - change


@lane_function
def still(square: Any, solvated: Any, born_i: Any, born_j: Any, salt: Any, cutoff: Any) -> Any:
    """Energy of a pair at fixed Born radii, `-d/dr` of it over r, and how it changes with the product of the radii.

    Args:
        square: r^2 in nm^2.
        solvated: generalised Born's constant times the charges' product.
        born_i: Born radius and `EXPONENT` of i.
        born_j: the same of j.
        salt: kappa in 1/nm, 0 without any, and `g`, the solvent's inverse permittivity over the difference of both.
        cutoff: `CutoffTables`, whose inverse is subtracted from `1/f` for pairs within it; None without one.
    """
    exponent = -square * born_i[1] * born_j[1]
    decay = exp2(exponent)
    f_square = square + born_i[0] * born_j[0] * decay
    inverse_f = reciprocal_root(f_square)
    energy = solvated * inverse_f
    cubed = energy * inverse_f * inverse_f
    if cutoff is not None:
        energy = energy - solvated * cutoff.inverse[0]
    if salt[0] > 0.0:
        factor, of_slope = _screened(f_square * inverse_f, salt, cutoff)
        energy, cubed = energy * factor, cubed * of_slope
    by_product = (0.5 * cubed) * (decay - LN_2 * exponent * decay)
    return -energy, cubed * (0.25 * decay - 1.0), by_product


@lane_function
def effective_radii(atoms: Any, born: Any, salt: Any, share: Any, energies: Any) -> None:
    """Turn descreening sums into Born radii; start dE/dB with the self energy and the surface term.

    `1/B = 1/rho - tanh(alpha psi - beta psi^2 + gamma psi^3) / R` with `psi = rho I`; HCT has `1/B = 1/rho - I`, which
    is what is left, `straight psi / R`, where alpha, beta and gamma are 0 and `straight = R / rho`.

    Args:
        atoms: numbers of the atoms as `born_table` has them, (atom, column) over replicas and (block, column, lane)
            over atoms.
        born: work space (4, atom or block, lane), see `RADIUS`.
        salt: see `still`.
        share: part of self energy and surface term to count.
        energies: energies in kJ/mol, row 6 added to; None where no energy is wanted.
    """
    for i in range(born.shape[1]):
        offset_radius, inverse_offset = load(atoms, (i, 0)), load(atoms, (i, 1))
        radius, self_energy, surface = load(atoms, (i, 3)), load(atoms, (i, 4)), load(atoms, (i, 9))
        alpha, beta, gamma, straight = (
            load(atoms, (i, 6)),
            load(atoms, (i, 7)),
            load(atoms, (i, 8)),
            load(atoms, (i, 10)),
        )
        psi = offset_radius * load(born, (RADIUS, i))
        argument = minimum(((gamma * psi - beta) * psi + alpha) * psi, 20.0)
        tangent = 1.0 - 2.0 / (1.0 + exp2((2.0 * LOG2_E) * argument))
        radius_of_born = 1.0 / (inverse_offset - (tangent + straight * psi) * (1.0 / radius))
        inverse = 1.0 / radius_of_born
        slope = (1.0 - tangent * tangent) * ((3.0 * gamma * psi - 2.0 * beta) * psi + alpha) + straight
        response = radius_of_born * radius_of_born * slope * (offset_radius / radius)
        ratio = radius * inverse
        cube = ratio * ratio * ratio
        covered = (share * surface) * cube * cube
        factor, of_slope = _screened(radius_of_born, salt, None)
        itself = (share * self_energy) * inverse
        store(born, (RADIUS, i), radius_of_born)
        store(born, (EXPONENT, i), (0.5 * LOG2_E**0.5) * inverse)
        store(born, (GRADIENT, i), -(itself * of_slope + 6.0 * covered) * inverse)
        store(born, (RESPONSE, i), response)
        energy_after(energies, 6, energy_before(energies, 6, born) + itself * factor + covered)
