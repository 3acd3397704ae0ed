"""Torsions, harmonic impropers and correction maps of two torsions, in either layout of `layouts`.

No angle is formed for a torsion: its energy is a polynomial in the cosine and sine. Reference: Blondel and Karplus, J.
Comput. Chem. 1996, 17, 1132 (torsion forces without singularities).
"""

from typing import Any

from mdgen.md.engines.lanes.layouts import add_force, difference, energy_after, energy_before, subtract_force
from mdgen.md.engines.lanes.vectors import cross, dot, minus, plus, scaled
from mdgen.simd.jit import lane_function
from mdgen.simd.lane_instructions import converted, maximum, minimum, reciprocal_root, select_less
from mdgen.simd.lane_math import HALF_PI, angle_of
from mdgen.simd.lanes import filled, gathered, load


@lane_function
def torsion_forces(x: Any, forces: Any, torsions: Any, work: Any, energies: Any, row: Any) -> None:
    """Add the forces of `c + sum of a_n cos(n phi) + b_n sin(n phi)`; with `energies`, their energy to a row."""
    atoms, numbers = torsions
    for term in range(atoms.shape[0]):
        cosine, sine, turn = _dihedral(x, atoms, term, 0, work)
        energy, slope = _periodic(numbers, term, cosine, sine, energy_before(energies, row, numbers))
        _add_turn(forces, atoms, term, 0, work, turn, slope)
        energy_after(energies, row, energy)


@lane_function
def improper_forces(x: Any, forces: Any, impropers: Any, work: Any, energies: Any, row: Any) -> None:
    """Add the forces of `k d^2`, d the difference to the angle of rest the short way round."""
    atoms, numbers = impropers
    for term in range(atoms.shape[0]):
        cosine, sine, turn = _dihedral(x, atoms, term, 0, work)
        rest_cosine, rest_sine, k = load(numbers, (term, 0)), load(numbers, (term, 1)), load(numbers, (term, 2))
        apart = angle_of(cosine * rest_cosine + sine * rest_sine, sine * rest_cosine - cosine * rest_sine)
        _add_turn(forces, atoms, term, 0, work, turn, 2.0 * k * apart)
        energy_after(energies, row, energy_before(energies, row, numbers) + k * apart * apart)


@lane_function
def map_forces(x: Any, forces: Any, maps: Any, work: Any, energies: Any, row: Any) -> None:
    """Add the forces of correction maps, tables of atoms and numbers as in `BondedTerms.maps`."""
    atoms, numbers = maps
    size, coefficients = numbers.shape[1], numbers.reshape(-1)
    steps_per_radian = size / (4.0 * HALF_PI)
    for term in range(atoms.shape[0]):
        cosine, sine, turn_phi = _dihedral(x, atoms, term, 0, work)
        i, u = _cell(angle_of(cosine, sine) * steps_per_radian, size, atoms)
        cosine, sine, turn_psi = _dihedral(x, atoms, term, 4, work)
        j, v = _cell(angle_of(cosine, sine) * steps_per_radian, size, atoms)
        start = (i * size + j) * 16 + load(atoms, (term, 8))
        energy, by_u, by_v = _bicubic(coefficients, start, u, v)
        _add_turn(forces, atoms, term, 0, work, turn_phi, by_u * steps_per_radian)
        _add_turn(forces, atoms, term, 4, work, turn_psi, by_v * steps_per_radian)
        energy_after(energies, row, energy_before(energies, row, numbers) + energy)


@lane_function
def _dihedral(x: Any, atoms: Any, term: Any, first: Any, work: Any) -> Any:
    """Cosine and sine of the dihedral angle of four columns from `first` on, and the forces of an energy of slope 1.

    Those are the forces on the first and on the last atom, and how much of them moves from the second to the third.
    """
    a, axis = (
        difference(x, atoms, term, first, first + 1, work, 0),
        difference(x, atoms, term, first + 2, first + 1, work, 1),
    )
    b = difference(x, atoms, term, first + 2, first + 3, work, 2)
    m, n = cross(a, axis), cross(axis, b)
    axis_square = dot(axis, axis)
    axis_inverse = reciprocal_root(axis_square)
    axis_length = axis_square * axis_inverse
    # The bound keeps the force finite where three atoms lie on a line.
    m_inverse = reciprocal_root(maximum(dot(m, m), 1e-12))
    n_inverse = reciprocal_root(maximum(dot(n, n), 1e-12))
    both = m_inverse * n_inverse
    cosine, sine = dot(m, n) * both, dot(a, n) * axis_length * both
    force_i = scaled(m, -axis_length * m_inverse * m_inverse)
    force_l = scaled(n, axis_length * n_inverse * n_inverse)
    along_a = dot(a, axis) * axis_inverse * axis_inverse
    along_b = dot(b, axis) * axis_inverse * axis_inverse
    return cosine, sine, (force_i, force_l, minus(scaled(force_i, along_a), scaled(force_l, along_b)))


@lane_function
def _add_turn(forces: Any, atoms: Any, term: Any, first: Any, work: Any, turn: Any, slope: Any) -> None:
    """Add the forces of a dihedral angle, from those that `_dihedral` gives and the slope of the energy."""
    force_i, force_l, shift = scaled(turn[0], slope), scaled(turn[1], slope), scaled(turn[2], slope)
    add_force(forces, atoms, term, first, work, force_i)
    subtract_force(forces, atoms, term, first + 1, work, minus(force_i, shift))
    subtract_force(forces, atoms, term, first + 2, work, plus(force_l, shift))
    add_force(forces, atoms, term, first + 3, work, force_l)


@lane_function
def _periodic(numbers: Any, term: Any, cosine: Any, sine: Any, energy: Any) -> Any:
    """Energy, added to `energy`, and slope of `c + sum of a_n cos(n phi) + b_n sin(n phi)`.

    `cos(n phi)` and `sin(n phi)` follow from those of `(n - 1) phi` by the addition theorem.
    """
    energy, slope = energy + load(numbers, (term, 0)), filled(numbers, 0.0)
    cosine_n, sine_n = cosine, sine
    for period in range(1, (numbers.shape[1] - 1) // 2 + 1):
        by_cosine, by_sine = load(numbers, (term, 2 * period - 1)), load(numbers, (term, 2 * period))
        energy = energy + by_cosine * cosine_n + by_sine * sine_n
        slope = slope + period * (by_sine * cosine_n - by_cosine * sine_n)
        cosine_n, sine_n = cosine_n * cosine - sine_n * sine, sine_n * cosine + cosine_n * sine
    return energy, slope


@lane_function
def _cell(place: Any, size: Any, atoms: Any) -> Any:
    """Integer lanes with the cell of a periodic grid, of the type of `atoms`, and the fraction of the way through it.

    Args:
        place: angle in steps of the grid, between -size/2 and size/2; not a number ends in some cell.
        size: cells of a turn.
        atoms: an array of integers.
    """
    place = select_less(place, 0.0, place + size, place)
    cell = converted(maximum(minimum(place, size - 1.0), 0.0), filled(atoms, 0))
    return cell, place - converted(cell, place)


@lane_function
def _bicubic(coefficients: Any, start: Any, u: Any, v: Any) -> Any:
    """A bicubic polynomial, whose coefficients begin at `start` with the highest powers, and its slopes by u and v."""
    value = by_u = by_v = filled(coefficients, 0.0)
    for power in range(4):
        a, b = gathered(coefficients, start + 4 * power), gathered(coefficients, start + (4 * power + 1))
        c, d = gathered(coefficients, start + (4 * power + 2)), gathered(coefficients, start + (4 * power + 3))
        by_u = by_u * u + value
        by_v = by_v * u + ((3.0 * a) * v + 2.0 * b) * v + c
        value = value * u + ((a * v + b) * v + c) * v + d
    return value, by_u, by_v
