"""Bonded terms and exceptions laid out for sixteen terms at a time."""

from typing import NamedTuple

import numpy as np

from mdgen.md.engines.lanes.bonded_terms import as_numpy, bonded_terms
from mdgen.md.engines.lanes.lanes import LANES
from mdgen.md.force_field.parameters import ForceFieldParameters


class BondedTables(NamedTuple):
    """Terms in groups of sixteen; the last group is filled up with terms of strength 0.

    Args:
        bond_atoms: int64 (group, 2, lane).
        bonds: number (group, 2, lane): length, k.
        angle_atoms: int64 (group, 3, lane).
        angles: number (group, 2, lane): angle, k.
        torsion_atoms: int64 (group, 4, lane).
        torsions: number (group, 1 + 2 periods, lane): constant, then the factors of cos(n phi) and of sin(n phi).
        improper_atoms: int64 (group, 4, lane).
        impropers: number (group, 3, lane): cosine and sine of the angle, k.
        exception_atoms: int64 (group, 2, lane).
        exceptions: number (group, 3, lane): 48 epsilon sigma^12, 24 epsilon sigma^6, constant times charges.
    """

    bond_atoms: np.ndarray
    bonds: np.ndarray
    angle_atoms: np.ndarray
    angles: np.ndarray
    torsion_atoms: np.ndarray
    torsions: np.ndarray
    improper_atoms: np.ndarray
    impropers: np.ndarray
    exception_atoms: np.ndarray
    exceptions: np.ndarray


def bonded_tables(parameters: ForceFieldParameters, dtype: type) -> BondedTables:
    """Lay out the bonded terms and those exceptions that are not mere exclusions."""
    p = parameters
    bonds, angles, torsions = bonded_terms(p)
    impropers = p.impropers
    no_atoms, no_numbers = np.zeros((0, 4), np.int64), np.zeros((0, 3))
    improper_atoms = no_atoms if impropers is None else as_numpy(impropers.atoms)
    improper_numbers = no_numbers
    if impropers is not None:
        theta0 = as_numpy(impropers.theta0)
        improper_numbers = np.stack([np.cos(theta0), np.sin(theta0), as_numpy(impropers.k)], -1)
    exception_atoms, exceptions = _exceptions(p)
    return BondedTables(
        *_grouped(*bonds, 1, dtype),
        *_grouped(*angles, 1, dtype),
        *_grouped(*torsions, 0, dtype),
        *_grouped(improper_atoms, improper_numbers, 2, dtype),
        *_grouped(exception_atoms, exceptions, 0, dtype),
    )


def _exceptions(p: ForceFieldParameters) -> tuple[np.ndarray, np.ndarray]:
    sixth = as_numpy(p.exception_sigma) ** 6
    strength = 24 * as_numpy(p.exception_epsilon) * sixth
    charged = p.coulomb_constant * as_numpy(p.exception_charge_product)
    numbers = np.stack([2 * strength * sixth, strength, charged], -1)
    acts = np.abs(numbers).sum(-1) > 0
    return as_numpy(p.exception_atoms).reshape(-1, 2)[acts], numbers[acts]


def _grouped(atoms: np.ndarray, numbers: np.ndarray, strength: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """(term, column) to (group, column, lane); filling repeats the last term, its columns from `strength` on zero."""
    terms = len(atoms)
    groups = -(-terms // LANES)
    chosen = np.minimum(np.arange(groups * LANES), max(terms - 1, 0))
    numbers = numbers[chosen].copy()
    numbers[terms:, strength:] = 0.0
    return (
        np.ascontiguousarray(atoms[chosen].reshape(groups, LANES, atoms.shape[-1]).swapaxes(1, 2), np.int64),
        np.ascontiguousarray(numbers.reshape(groups, LANES, numbers.shape[-1]).swapaxes(1, 2), dtype),
    )
