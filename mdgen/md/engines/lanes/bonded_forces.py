"""Bonds, angles, torsions, impropers and pairs with numbers of their own, in either layout of `layouts`.

A table of numbers is (term, column) over replicas and (term, column, lane) over terms. No torsion angle is ever formed:
the energy of a torsion is a polynomial in its cosine and sine. Reference: Blondel and Karplus, J. Comput. Chem. 1996,
17, 1132 (torsion forces without singularities).
"""

from typing import Any

from mdgen.md.engines.lanes.jit import lane_function
from mdgen.md.engines.lanes.lane_instructions import absolute, maximum, minimum, reciprocal_root, select_less
from mdgen.md.engines.lanes.lane_math import HALF_PI, arccos
from mdgen.md.engines.lanes.lanes import filled, load
from mdgen.md.engines.lanes.layouts import add_force, difference, energy_after, energy_before, subtract_force
from mdgen.md.engines.lanes.pair_laws import coulomb, lennard_jones
from mdgen.md.engines.lanes.vectors import cross, dot, minus, plus, scaled


@lane_function
def bonded_forces(x: Any, forces: Any, terms: Any, work: Any, energies: Any) -> None:
    """Add the forces of bonds, angles and torsions.

    Args:
        x: positions in nm.
        forces: forces in kJ/mol/nm, added to.
        terms: `BondedTerms`.
        work: work space of `layouts`; None over replicas.
        energies: energies in kJ/mol, rows 0 to 2 added to; None where no energy is wanted, which compiles it away.
    """
    _bond_forces(x, forces, terms.bonds, work, energies)
    _angle_forces(x, forces, terms.angles, work, energies)
    _torsion_forces(x, forces, terms.torsions, work, None, energies, 2)


@lane_function
def improper_forces(x: Any, forces: Any, impropers: Any, work: Any, energies: Any) -> None:
    """Add the forces of harmonic impropers; with `energies`, their energy to row 3."""
    _torsion_forces(x, forces, impropers, work, True, energies, 3)


@lane_function
def _bond_forces(x: Any, forces: Any, bonds: Any, work: Any, energies: Any) -> None:
    """Forces of `k (r - r0)^2`."""
    atoms, numbers = bonds
    for term in range(atoms.shape[0]):
        length, k = load(numbers, (term, 0)), load(numbers, (term, 1))
        between = difference(x, atoms, term, 0, 1, work, 0)
        square = dot(between, between)
        inverse = reciprocal_root(square)
        stretch = square * inverse - length
        force = scaled(between, (-2.0 * k) * stretch * inverse)
        add_force(forces, atoms, term, 0, work, force)
        subtract_force(forces, atoms, term, 1, work, force)
        energy_after(energies, 0, energy_before(energies, 0, numbers) + k * stretch * stretch)


@lane_function
def _angle_forces(x: Any, forces: Any, angles: Any, work: Any, energies: Any) -> None:
    """Forces of `k (theta - theta0)^2`."""
    atoms, numbers = angles
    for term in range(atoms.shape[0]):
        rest, k = load(numbers, (term, 0)), load(numbers, (term, 1))
        a, b = difference(x, atoms, term, 0, 1, work, 0), difference(x, atoms, term, 2, 1, work, 1)
        inverse_a, inverse_b = reciprocal_root(dot(a, a)), reciprocal_root(dot(b, b))
        a, b = scaled(a, inverse_a), scaled(b, inverse_b)
        cosine = minimum(maximum(dot(a, b), -1.0), 1.0)
        # A straight angle has no direction to bend in; the bound keeps its force finite.
        inverse_sine = reciprocal_root(maximum(1.0 - cosine * cosine, 1e-6))
        bend = arccos(cosine) - rest
        factor = (2.0 * k) * bend * inverse_sine
        force_a = scaled(minus(b, scaled(a, cosine)), factor * inverse_a)
        force_b = scaled(minus(a, scaled(b, cosine)), factor * inverse_b)
        add_force(forces, atoms, term, 0, work, force_a)
        add_force(forces, atoms, term, 2, work, force_b)
        subtract_force(forces, atoms, term, 1, work, plus(force_a, force_b))
        energy_after(energies, 1, energy_before(energies, 1, numbers) + k * bend * bend)


@lane_function
def _torsion_forces(x: Any, forces: Any, terms: Any, work: Any, harmonic: Any, energies: Any, row: Any) -> None:
    """Forces of a function of dihedral angles: of `_periodic`, or of `_harmonic` where `harmonic` is not None."""
    atoms, numbers = terms
    for term in range(atoms.shape[0]):
        a, axis = difference(x, atoms, term, 0, 1, work, 0), difference(x, atoms, term, 2, 1, work, 1)
        b = difference(x, atoms, term, 2, 3, work, 2)
        m, n = cross(a, axis), cross(axis, b)
        axis_square = dot(axis, axis)
        axis_inverse = reciprocal_root(axis_square)
        axis_length = axis_square * axis_inverse
        # The bound keeps the force finite where three atoms lie on a line.
        m_inverse = reciprocal_root(maximum(dot(m, m), 1e-12))
        n_inverse = reciprocal_root(maximum(dot(n, n), 1e-12))
        both = m_inverse * n_inverse
        cosine, sine = dot(m, n) * both, dot(a, n) * axis_length * both
        energy = energy_before(energies, row, numbers)
        if harmonic is None:
            energy, slope = _periodic(numbers, term, cosine, sine, energy)
        else:
            energy, slope = _harmonic(numbers, term, cosine, sine, energy)
        pull = slope * axis_length
        force_i = scaled(m, -pull * m_inverse * m_inverse)
        force_l = scaled(n, pull * n_inverse * n_inverse)
        along_a = dot(a, axis) * axis_inverse * axis_inverse
        along_b = dot(b, axis) * axis_inverse * axis_inverse
        shift = minus(scaled(force_i, along_a), scaled(force_l, along_b))
        add_force(forces, atoms, term, 0, work, force_i)
        subtract_force(forces, atoms, term, 1, work, minus(force_i, shift))
        subtract_force(forces, atoms, term, 2, work, plus(force_l, shift))
        add_force(forces, atoms, term, 3, work, force_l)
        energy_after(energies, row, energy)


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
def _harmonic(numbers: Any, term: Any, cosine: Any, sine: Any, energy: Any) -> Any:
    """Energy `k d^2`, added to `energy`, and slope; d comes from whichever of its sine and cosine tells it better."""
    rest_cosine, rest_sine, k = load(numbers, (term, 0)), load(numbers, (term, 1)), load(numbers, (term, 2))
    of_cosine = minimum(maximum(cosine * rest_cosine + sine * rest_sine, -1.0), 1.0)
    of_sine = minimum(maximum(sine * rest_cosine - cosine * rest_sine, -1.0), 1.0)
    wide = arccos(of_cosine)
    wide = select_less(of_sine, 0.0, -wide, wide)
    apart = select_less(absolute(of_sine), of_cosine, HALF_PI - arccos(of_sine), wide)
    return energy + k * apart * apart, 2.0 * k * apart


@lane_function
def exception_forces(x: Any, forces: Any, exceptions: Any, work: Any, energies: Any) -> None:
    """Add the forces of pairs with numbers of their own, without cutoff and between the very atoms, not their images.

    With `energies`, those of Lennard-Jones go to row 4 and those of Coulomb to row 5.
    """
    atoms, numbers = exceptions
    for term in range(atoms.shape[0]):
        a, b, charges = load(numbers, (term, 0)), load(numbers, (term, 1)), load(numbers, (term, 2))
        between = difference(x, atoms, term, 0, 1, work, 0)
        inverse = reciprocal_root(dot(between, between))
        inverse_square = inverse * inverse
        pull, energy = lennard_jones(inverse_square, a, b)
        charged = coulomb(charges, inverse)
        force = scaled(between, inverse_square * (pull + charged))
        add_force(forces, atoms, term, 0, work, force)
        subtract_force(forces, atoms, term, 1, work, force)
        energy_after(energies, 4, energy_before(energies, 4, numbers) + energy)
        energy_after(energies, 5, energy_before(energies, 5, numbers) + charged)
