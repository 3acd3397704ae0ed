"""Bonds, angles and torsions of sixteen replicas.

No torsion angle is ever formed: the energy is a polynomial in its cosine and sine. References: Blondel and Karplus,
J. Comput. Chem. 1996, 17, 1132 (torsion forces without singularities).
"""

from typing import Any

from mdgen.md.engines.lanes.lane_instructions import maximum, minimum, reciprocal_root
from mdgen.md.engines.lanes.lane_math import arccos, lane_function
from mdgen.md.engines.lanes.lanes import filled, store
from mdgen.md.engines.lanes.vectors import (
    add_to,
    cross,
    dot,
    load_vector,
    minus,
    plus,
    scaled,
    subtract_from,
)


@lane_function
def bond_forces(positions: Any, forces: Any, tables: Any, energies: Any) -> None:
    """Add the forces of `k (r - r0)^2`; with `energies` (term, lane), put the energy into row 0."""
    energy = filled(positions, 0.0)
    for bond in range(tables.bond_atoms.shape[0]):
        i, j = tables.bond_atoms[bond, 0], tables.bond_atoms[bond, 1]
        length, k = tables.bonds[bond, 0], tables.bonds[bond, 1]
        between = minus(load_vector(positions, i), load_vector(positions, j))
        square = dot(between, between)
        inverse = reciprocal_root(square)
        stretch = square * inverse - length
        force = scaled(between, (-2.0 * k) * stretch * inverse)
        add_to(forces, i, force)
        subtract_from(forces, j, force)
        if energies is not None:
            energy = energy + k * stretch * stretch
    if energies is not None:
        store(energies, (0,), energy)


@lane_function
def angle_forces(positions: Any, forces: Any, tables: Any, energies: Any) -> None:
    """Add the forces of `k (theta - theta0)^2`; with `energies`, put the energy into row 1."""
    energy = filled(positions, 0.0)
    for angle in range(tables.angle_atoms.shape[0]):
        i, j, k = tables.angle_atoms[angle, 0], tables.angle_atoms[angle, 1], tables.angle_atoms[angle, 2]
        rest, stiffness = tables.angles[angle, 0], tables.angles[angle, 1]
        centre = load_vector(positions, j)
        a = minus(load_vector(positions, i), centre)
        b = minus(load_vector(positions, k), centre)
        inverse_a = reciprocal_root(dot(a, a))
        inverse_b = reciprocal_root(dot(b, b))
        a = scaled(a, inverse_a)
        b = scaled(b, inverse_b)
        cosine = minimum(maximum(dot(a, b), -1.0), 1.0)
        # A straight angle has no direction to bend in; the bound keeps its force finite.
        inverse_sine = reciprocal_root(maximum(1.0 - cosine * cosine, 1e-6))
        bend = arccos(cosine) - rest
        factor = (2.0 * stiffness) * bend * inverse_sine
        force_i = scaled(minus(b, scaled(a, cosine)), factor * inverse_a)
        force_k = scaled(minus(a, scaled(b, cosine)), factor * inverse_b)
        add_to(forces, i, force_i)
        add_to(forces, k, force_k)
        subtract_from(forces, j, plus(force_i, force_k))
        if energies is not None:
            energy = energy + stiffness * bend * bend
    if energies is not None:
        store(energies, (1,), energy)


@lane_function
def torsion_forces(positions: Any, forces: Any, tables: Any, energies: Any) -> None:
    """Add the forces of all torsions and impropers; with `energies`, put the energy into row 2.

    `cos(n phi)` and `sin(n phi)` follow from those of `(n - 1) phi` by the addition theorem.
    """
    energy = filled(positions, 0.0)
    periods = (tables.torsions.shape[1] - 1) // 2
    for torsion in range(tables.torsion_atoms.shape[0]):
        i, j = tables.torsion_atoms[torsion, 0], tables.torsion_atoms[torsion, 1]
        k, l = tables.torsion_atoms[torsion, 2], tables.torsion_atoms[torsion, 3]  # noqa: E741
        at_j, at_k = load_vector(positions, j), load_vector(positions, k)
        a = minus(load_vector(positions, i), at_j)
        axis = minus(at_k, at_j)
        b = minus(at_k, load_vector(positions, l))
        m = cross(a, axis)
        n = cross(axis, b)
        axis_square = dot(axis, axis)
        axis_inverse = reciprocal_root(axis_square)
        axis_length = axis_square * axis_inverse
        # The bound keeps the force finite where three atoms lie on a line.
        m_inverse = reciprocal_root(maximum(dot(m, m), 1e-12))
        n_inverse = reciprocal_root(maximum(dot(n, n), 1e-12))
        both = m_inverse * n_inverse
        cosine = dot(m, n) * both
        sine = dot(a, n) * axis_length * both
        cosine_n, sine_n = cosine, sine
        slope = filled(positions, 0.0)
        if energies is not None:
            energy = energy + tables.torsions[torsion, 0]
        for period in range(1, periods + 1):
            by_cosine, by_sine = tables.torsions[torsion, 2 * period - 1], tables.torsions[torsion, 2 * period]
            slope = slope + period * (by_sine * cosine_n - by_cosine * sine_n)
            if energies is not None:
                energy = energy + by_cosine * cosine_n + by_sine * sine_n
            cosine_n, sine_n = cosine_n * cosine - sine_n * sine, sine_n * cosine + cosine_n * sine
        pull = slope * axis_length
        force_i = scaled(m, -pull * m_inverse * m_inverse)
        force_l = scaled(n, pull * n_inverse * n_inverse)
        along_a = dot(a, axis) * axis_inverse * axis_inverse
        along_b = dot(b, axis) * axis_inverse * axis_inverse
        shift = minus(scaled(force_i, along_a), scaled(force_l, along_b))
        add_to(forces, i, force_i)
        subtract_from(forces, j, minus(force_i, shift))
        subtract_from(forces, k, plus(force_l, shift))
        add_to(forces, l, force_l)
    if energies is not None:
        store(energies, (2,), energy)
