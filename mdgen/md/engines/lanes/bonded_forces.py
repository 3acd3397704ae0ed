"""Bonds, angles, torsions and pairs with numbers of their own, in either layout of `layouts`.

A table of numbers is (term, column) over replicas and (term, column, lane) over terms.
"""

from typing import Any

from mdgen.md.engines.lanes.layouts import add_force, difference, energy_after, energy_before, subtract_force
from mdgen.md.engines.lanes.pair_laws import pair_force
from mdgen.md.engines.lanes.torsion_forces import improper_forces, map_forces, torsion_forces
from mdgen.md.engines.lanes.vectors import dot, minus, plus, scaled
from mdgen.simd.jit import lane_function, part_of_caller
from mdgen.simd.lane_instructions import maximum, minimum, reciprocal_root
from mdgen.simd.lane_math import arccos
from mdgen.simd.lanes import load

BONDED_TERMS = ("bonds", "angles", "torsions", "impropers", "cmap")
"""The first rows of an energy table, in order; those of pairs follow."""


@part_of_caller
def bonded_forces(x: Any, forces: Any, terms: Any, work: Any, energies: Any) -> None:
    """Add the forces of all terms but exceptions.

    Args:
        x: positions in nm.
        forces: forces in kJ/mol/nm, added to.
        terms: `BondedTerms`.
        work: work space of `layouts`; None over replicas.
        energies: energies in kJ/mol, rows as in `BONDED_TERMS` added to; None where no energy is wanted, which compiles
            it away.
    """
    _bond_forces(x, forces, terms.bonds, work, energies)
    _angle_forces(x, forces, terms.angles, work, energies)
    torsion_forces(x, forces, terms.torsions, work, energies, 2)
    improper_forces(x, forces, terms.impropers, work, energies, 3)
    map_forces(x, forces, terms.maps, work, energies, 4)


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
def exception_forces(x: Any, forces: Any, exceptions: Any, work: Any, energies: Any, rows: Any) -> None:
    """Add the forces of pairs with numbers of their own, without cutoff and between the very atoms, not their images.

    With `energies`, those of Lennard-Jones go to the first of two rows and those of Coulomb to the second.
    """
    atoms, numbers = exceptions
    for term in range(atoms.shape[0]):
        a, b, charges = load(numbers, (term, 0)), load(numbers, (term, 1)), load(numbers, (term, 2))
        between = difference(x, atoms, term, 0, 1, work, 0)
        strength, dispersed, charged = pair_force(reciprocal_root(dot(between, between)), charges, a, b)
        force = scaled(between, strength)
        add_force(forces, atoms, term, 0, work, force)
        subtract_force(forces, atoms, term, 1, work, force)
        energy_after(energies, rows[0], energy_before(energies, rows[0], numbers) + dispersed)
        energy_after(energies, rows[1], energy_before(energies, rows[1], numbers) + charged)
