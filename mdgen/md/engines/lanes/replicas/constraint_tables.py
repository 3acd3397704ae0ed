"""Constraints of the replica kernel laid out flat, and the number of sweeps that meets them."""

from typing import NamedTuple

import numpy as np

from mdgen.md.engines.lanes.bonded_terms import as_numpy
from mdgen.md.force_field.parameters import ForceFieldParameters

_TARGET = 1e-8
MOST_SWEEPS = 60
"""Sweeps a step above which replicas are solved one by one, each with the sweeps that it needs."""


class ConstraintTables(NamedTuple):
    """Constraints as the kernels read them.

    Args:
        atoms: int64 (constraint, 2).
        numbers: number (constraint, 4): squared length; inverse mass of either atom; inverse of their sum.
        sweeps: number of sweeps over all constraints.
    """

    atoms: np.ndarray
    numbers: np.ndarray
    sweeps: int


def constraint_tables(parameters: ForceFieldParameters, dtype: type) -> ConstraintTables:
    """Lay out the constraints of a molecule and choose the number of sweeps."""
    atoms, length = as_numpy(parameters.constraint_atoms).reshape(-1, 2), as_numpy(parameters.constraint_length)
    inverse = (1 / as_numpy(parameters.masses))[atoms]
    atoms = np.ascontiguousarray(atoms)
    numbers = np.stack([length**2, inverse[:, 0], inverse[:, 1], 1 / inverse.sum(-1)], -1)
    return ConstraintTables(atoms, np.ascontiguousarray(numbers, dtype=dtype), sweeps_needed(parameters))


def sweeps_needed(parameters: ForceFieldParameters) -> int:
    """Sweeps after which the error is below `_TARGET`, from the Gauss-Seidel matrix of the coupled constraints.

    Two constraints at one atom couple through its mass times the cosine between them. Where every constraint ends in an
    atom of its own, as bonds to hydrogen do, that is a bond angle and at most 1/2; otherwise nothing is known of it.
    Two more sweeps are for the Newton step's own convergence.
    """
    atoms = as_numpy(parameters.constraint_atoms).reshape(-1, 2)
    if len(atoms) == 0:
        return 0
    inverse_masses = (1 / as_numpy(parameters.masses))[atoms]
    uses = np.bincount(atoms.ravel())
    cosine = 0.5 if (uses[atoms].min(1) == 1).all() else 1.0
    same = atoms[:, None, :, None] == atoms[None, :, None, :]
    coupling = cosine * np.einsum("abpq,ap->ab", same, inverse_masses)
    np.fill_diagonal(coupling, inverse_masses.sum(-1))
    rate = np.abs(np.linalg.eigvals(np.linalg.solve(np.tril(coupling), np.triu(coupling, 1)))).max()
    return int(2 + np.ceil(np.log(_TARGET) / np.log(np.clip(rate, _TARGET, 1 - 1e-9))))
