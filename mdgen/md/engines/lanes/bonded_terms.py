"""Bonds, angles and torsions of a force field as plain tables, from which either kernel makes its own."""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.md.force_field.parameters import ForceFieldParameters

_HIGHEST_PERIODICITY = 6


class Terms(NamedTuple):
    """Terms of one kind: int64 atoms (term, column) and float64 numbers (term, column)."""

    atoms: np.ndarray
    numbers: np.ndarray


def bonded_terms(parameters: ForceFieldParameters) -> tuple[Terms, Terms, Terms]:
    """Bonds (length, k), angles (angle, k) and torsions (constant, then the factors of cos(n phi) and sin(n phi)).

    Raises:
        MdgenError: for a torsion of a periodicity that force fields do not use.
    """
    p = parameters
    return (
        Terms(as_numpy(p.bond_atoms).reshape(-1, 2), np.stack([as_numpy(p.bond_length), as_numpy(p.bond_k)], -1)),
        Terms(as_numpy(p.angle_atoms).reshape(-1, 3), np.stack([as_numpy(p.angle_theta0), as_numpy(p.angle_k)], -1)),
        _torsions(p),
    )


def as_numpy(tensor: Tensor) -> np.ndarray:
    """A detached tensor as an array on the processor."""
    return tensor.detach().cpu().numpy()


def _torsions(parameters: ForceFieldParameters) -> Terms:
    """Merge terms of the same four atoms: `k (1 + cos(n phi - g)) = k + k cos g cos(n phi) + k sin g sin(n phi)`."""
    merged: dict[tuple[int, ...], np.ndarray] = {}
    columns = (parameters.torsion_atoms, parameters.torsion_periodicity, parameters.torsion_phase, parameters.torsion_k)
    for atoms, periodicity, phase, k in zip(*(as_numpy(column) for column in columns), strict=True):
        if k == 0.0:
            continue
        if not 1 <= periodicity <= _HIGHEST_PERIODICITY:
            raise MdgenError(
                f"a torsion has periodicity {periodicity}; the many-replica kernel takes 1 to {_HIGHEST_PERIODICITY}: "
                "use the torch engine"
            )
        quad = tuple(int(atom) for atom in (atoms if atoms[0] < atoms[-1] else atoms[::-1]))
        row = merged.setdefault(quad, np.zeros(1 + 2 * _HIGHEST_PERIODICITY))
        row[0] += k
        row[2 * periodicity - 1] += k * np.cos(phase)
        row[2 * periodicity] += k * np.sin(phase)
    quads = np.array(list(merged), dtype=np.int64).reshape(-1, 4)
    rows = np.array(list(merged.values())).reshape(-1, 1 + 2 * _HIGHEST_PERIODICITY)
    used = np.flatnonzero(np.abs(rows).sum(0) > 0)
    periods = (used[-1] + 1) // 2 if len(used) else 0
    return Terms(quads, rows[:, : 1 + 2 * periods])
