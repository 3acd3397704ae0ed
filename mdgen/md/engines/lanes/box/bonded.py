"""Bonds, angles, torsions, harmonic impropers and exceptions, sixteen terms at a time.

Differences of positions are taken in double precision and rounded then, so that nothing is lost however far from the
origin a molecule has drifted. References: Blondel and Karplus, J. Comput. Chem. 1996, 17, 1132 (torsion forces without
singularities).
"""

from typing import Any

from mdgen.md.engines.lanes.box.selection import lane_sum
from mdgen.md.engines.lanes.lane_instructions import absolute, maximum, minimum, reciprocal_root, select_less
from mdgen.md.engines.lanes.lane_math import HALF_PI, arccos, lane_function
from mdgen.md.engines.lanes.lanes import LANES, filled, load
from mdgen.md.engines.lanes.vectors import cross, dot, load_vector, minus, plus, scaled, store_vector


@lane_function
def bonded_forces(x: Any, forces: Any, tables: Any, work: Any, energies: Any) -> None:
    """Add all bonded forces to `forces` (atom, 3); with `energies`, add to its elements by `step.ENERGY_TERMS`.

    `work` is number (4, 3, lane), of any content.
    """
    _bonds(x, forces, tables, work, energies)
    _angles(x, forces, tables, work, energies)
    _torsions(x, forces, tables.torsion_atoms, tables.torsions, work, None, energies)
    _torsions(x, forces, tables.improper_atoms, tables.impropers, work, True, energies)
    _exceptions(x, forces, tables, work, energies)


@lane_function
def _between(x: Any, atoms: Any, group: Any, left: Any, right: Any, work: Any, row: Any) -> Any:
    """Positions of atoms in column `left` less those in column `right`."""
    for lane in range(LANES):
        i, j = atoms[group, left, lane], atoms[group, right, lane]
        for axis in range(3):
            work[row, axis, lane] = x[i, axis] - x[j, axis]
    return load_vector(work, row)


@lane_function
def _add(forces: Any, atoms: Any, group: Any, column: Any, work: Any, force: Any) -> None:
    """Add a force to the atoms in a column, one lane after the other: lanes may share atoms."""
    store_vector(work, 3, force)
    for lane in range(LANES):
        i = atoms[group, column, lane]
        for axis in range(3):
            forces[i, axis] += work[3, axis, lane]


@lane_function
def _bonds(x: Any, forces: Any, tables: Any, work: Any, energies: Any) -> None:
    atoms = tables.bond_atoms
    for group in range(atoms.shape[0]):
        length, k = load(tables.bonds, (group, 0)), load(tables.bonds, (group, 1))
        between = _between(x, atoms, group, 0, 1, work, 0)
        square = dot(between, between)
        inverse = reciprocal_root(square)
        stretch = square * inverse - length
        force = scaled(between, -2.0 * (k * stretch) * inverse)
        _add(forces, atoms, group, 0, work, force)
        _add(forces, atoms, group, 1, work, scaled(force, -1.0))
        if energies is not None:
            energies[0] += lane_sum(k * stretch * stretch)


@lane_function
def _angles(x: Any, forces: Any, tables: Any, work: Any, energies: Any) -> None:
    atoms = tables.angle_atoms
    for group in range(atoms.shape[0]):
        rest, k = load(tables.angles, (group, 0)), load(tables.angles, (group, 1))
        a, b = _between(x, atoms, group, 0, 1, work, 0), _between(x, atoms, group, 2, 1, work, 1)
        inverse_a, inverse_b = reciprocal_root(dot(a, a)), reciprocal_root(dot(b, b))
        a, b = scaled(a, inverse_a), scaled(b, inverse_b)
        cosine = minimum(maximum(dot(a, b), -1.0), 1.0)
        # A straight angle has no direction to bend in; the bound keeps its force finite.
        inverse_sine = reciprocal_root(maximum(1.0 - cosine * cosine, 1e-6))
        bend = arccos(cosine) - rest
        factor = 2.0 * (k * bend) * inverse_sine
        force_a = scaled(minus(b, scaled(a, cosine)), factor * inverse_a)
        force_b = scaled(minus(a, scaled(b, cosine)), factor * inverse_b)
        _add(forces, atoms, group, 0, work, force_a)
        _add(forces, atoms, group, 2, work, force_b)
        _add(forces, atoms, group, 1, work, scaled(plus(force_a, force_b), -1.0))
        if energies is not None:
            energies[1] += lane_sum(k * bend * bend)


@lane_function
def _torsions(x: Any, forces: Any, atoms: Any, numbers: Any, work: Any, harmonic: Any, energies: Any) -> None:
    for group in range(atoms.shape[0]):
        a = _between(x, atoms, group, 0, 1, work, 0)
        axis = _between(x, atoms, group, 2, 1, work, 1)
        b = _between(x, atoms, group, 2, 3, work, 2)
        m, n = cross(a, axis), cross(axis, b)
        axis_square = dot(axis, axis)
        axis_inverse = reciprocal_root(axis_square)
        axis_length = axis_square * axis_inverse
        # The bound keeps the force finite where three atoms lie on a line.
        m_inverse = reciprocal_root(maximum(dot(m, m), 1e-12))
        n_inverse = reciprocal_root(maximum(dot(n, n), 1e-12))
        both = m_inverse * n_inverse
        cosine, sine = dot(m, n) * both, dot(a, n) * axis_length * both
        if harmonic is None:
            energy, slope = _periodic(numbers, group, cosine, sine)
        else:
            energy, slope = _harmonic(numbers, group, cosine, sine)
        pull = slope * axis_length
        force_i, force_l = scaled(m, -(pull * m_inverse * m_inverse)), scaled(n, pull * n_inverse * n_inverse)
        along_a, along_b = dot(a, axis) * axis_inverse * axis_inverse, dot(b, axis) * axis_inverse * axis_inverse
        shift = minus(scaled(force_i, along_a), scaled(force_l, along_b))
        _add(forces, atoms, group, 0, work, force_i)
        _add(forces, atoms, group, 1, work, minus(shift, force_i))
        _add(forces, atoms, group, 2, work, scaled(plus(force_l, shift), -1.0))
        _add(forces, atoms, group, 3, work, force_l)
        if energies is not None:
            energies[2 if harmonic is None else 3] += lane_sum(energy)


@lane_function
def _periodic(numbers: Any, group: Any, cosine: Any, sine: Any) -> Any:
    """Energy and slope; `cos(n phi)` and `sin(n phi)` follow from those of `(n - 1) phi` by the addition theorem."""
    energy, slope = load(numbers, (group, 0)), filled(numbers, 0.0)
    cosine_n, sine_n = cosine, sine
    for period in range(1, (numbers.shape[1] - 1) // 2 + 1):
        by_cosine, by_sine = load(numbers, (group, 2 * period - 1)), load(numbers, (group, 2 * period))
        energy = energy + by_cosine * cosine_n + by_sine * sine_n
        slope = slope + period * (by_sine * cosine_n - by_cosine * sine_n)
        cosine_n, sine_n = cosine_n * cosine - sine_n * sine, sine_n * cosine + cosine_n * sine
    return energy, slope


@lane_function
def _harmonic(numbers: Any, group: Any, cosine: Any, sine: Any) -> Any:
    """Energy `k d^2` and slope; d comes from whichever of its sine and cosine tells it better."""
    rest_cosine, rest_sine, k = load(numbers, (group, 0)), load(numbers, (group, 1)), load(numbers, (group, 2))
    of_cosine = minimum(maximum(cosine * rest_cosine + sine * rest_sine, -1.0), 1.0)
    of_sine = minimum(maximum(sine * rest_cosine - cosine * rest_sine, -1.0), 1.0)
    wide = arccos(of_cosine)
    wide = select_less(of_sine, 0.0, -wide, wide)
    difference = select_less(absolute(of_sine), of_cosine, HALF_PI - arccos(of_sine), wide)
    return k * difference * difference, 2.0 * k * difference


@lane_function
def _exceptions(x: Any, forces: Any, tables: Any, work: Any, energies: Any) -> None:
    """Pairs with numbers of their own, without cutoff and between the very atoms, not their images."""
    atoms, numbers = tables.exception_atoms, tables.exceptions
    for group in range(atoms.shape[0]):
        a, b, charged = load(numbers, (group, 0)), load(numbers, (group, 1)), load(numbers, (group, 2))
        between = _between(x, atoms, group, 0, 1, work, 0)
        inverse = reciprocal_root(dot(between, between))
        inverse_square = inverse * inverse
        sixth = inverse_square * inverse_square * inverse_square
        force = scaled(between, ((a * sixth - b) * sixth + charged * inverse) * inverse_square)
        _add(forces, atoms, group, 0, work, force)
        _add(forces, atoms, group, 1, work, scaled(force, -1.0))
        if energies is not None:
            energies[4] += lane_sum((a * sixth * (1.0 / 12.0) - b * (1.0 / 6.0)) * sixth)
            energies[5] += lane_sum(charged * inverse)
