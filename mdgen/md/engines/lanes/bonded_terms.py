"""Bonded terms and exceptions of a force field as tables, in either layout of `layouts`."""

from functools import partial
from typing import NamedTuple

import numpy as np
from torch import Tensor

from mdgen.md.engines.lanes.layouts import in_lanes
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.md.force_field.terms.cmap import cell_polynomials
from mdgen.simd.lanes import LANES

HIGHEST_PERIODICITY = 6
"""Highest periodicity of a torsion in the tables; the least is 1."""


class Terms(NamedTuple):
    """Terms of one kind.

    Args:
        atoms: int64 (term, column), or (group, column, lane) for sixteen terms at a time.
        numbers: number, of the same layout.
    """

    atoms: np.ndarray
    numbers: np.ndarray


class BondedTerms(NamedTuple):
    """Terms of all kinds.

    Args:
        bonds: numbers are length and k.
        angles: numbers are angle and k.
        torsions: each four atoms once; numbers are a constant, then the factors of cos(n phi) and of sin(n phi).
        impropers: numbers are cosine and sine of the angle, and k.
        maps: eight atoms, and where the coefficients of the map begin; numbers, of neither layout, are those of the
            bicubic polynomial of every cell, (map, size, size, 16).
        exceptions: numbers are 48 epsilon sigma^12, 24 epsilon sigma^6 and Coulomb's constant times charges; those that
            are mere exclusions are left out.
    """

    bonds: Terms
    angles: Terms
    torsions: Terms
    impropers: Terms
    maps: Terms
    exceptions: Terms


def bonded_terms(parameters: ForceFieldParameters, dtype: type, grouped: bool) -> BondedTerms:
    """Lay out the terms in `dtype`, numpy's float32 or float64.

    Args:
        parameters: the force field.
        dtype: type of the numbers.
        grouped: whether sixteen terms lie in one group; the last is filled up with terms of strength 0.
    """
    p = parameters
    laid_out = partial(_laid_out, dtype=dtype, grouped=grouped)
    return BondedTerms(
        bonds=laid_out(
            as_numpy(p.bond_atoms).reshape(-1, 2), np.stack([as_numpy(p.bond_length), as_numpy(p.bond_k)], -1)
        ),
        angles=laid_out(
            as_numpy(p.angle_atoms).reshape(-1, 3), np.stack([as_numpy(p.angle_theta0), as_numpy(p.angle_k)], -1)
        ),
        torsions=laid_out(*_torsions(p)),
        impropers=laid_out(*_impropers(p)),
        maps=_maps(p, dtype, grouped),
        exceptions=laid_out(*_exceptions(p)),
    )


def as_numpy(tensor: Tensor) -> np.ndarray:
    """A detached tensor as an array on the processor."""
    return tensor.detach().cpu().numpy()


def _laid_out(atoms: np.ndarray, numbers: np.ndarray, dtype: type, grouped: bool) -> Terms:
    if grouped:
        terms, atoms = len(atoms), in_lanes(atoms)
        numbers = np.concatenate([numbers, np.zeros((atoms.shape[0] * atoms.shape[2] - terms, numbers.shape[1]))])
        numbers = in_lanes(numbers)
    return Terms(np.ascontiguousarray(atoms, np.int64), np.ascontiguousarray(numbers, dtype))


def _impropers(p: ForceFieldParameters) -> tuple[np.ndarray, np.ndarray]:
    if p.impropers is None:
        return np.zeros((0, 4)), np.zeros((0, 3))
    theta0 = as_numpy(p.impropers.theta0)
    return as_numpy(p.impropers.atoms), np.stack([np.cos(theta0), np.sin(theta0), as_numpy(p.impropers.k)], -1)


def _maps(p: ForceFieldParameters, dtype: type, grouped: bool) -> Terms:
    """Correction maps; the terms that fill up a group have a map of zeros, which is the last."""
    if p.cmap is None:
        return Terms(np.zeros((0, 9, LANES) if grouped else (0, 9), np.int64), np.zeros((1, 1, 1, 16), dtype))
    numbers = as_numpy(cell_polynomials(p.cmap.energy)).reshape(-1, *p.cmap.energy.shape[1:], 16)
    numbers = np.concatenate([numbers, np.zeros_like(numbers[:1])])
    atoms = np.concatenate([as_numpy(p.cmap.atoms), as_numpy(p.cmap.which)[:, None] * numbers[0].size], 1)
    if grouped:
        terms, atoms = len(atoms), in_lanes(atoms)
        atoms[-1, 8, terms - atoms.shape[0] * LANES + LANES :] = numbers[:-1].size
    return Terms(np.ascontiguousarray(atoms, np.int64), np.ascontiguousarray(numbers, dtype))


def _exceptions(p: ForceFieldParameters) -> tuple[np.ndarray, np.ndarray]:
    sixth = as_numpy(p.exception_sigma) ** 6
    strength = 24 * as_numpy(p.exception_epsilon) * sixth
    charged = p.coulomb_constant * as_numpy(p.exception_charge_product)
    numbers = np.stack([2 * strength * sixth, strength, charged], -1)
    acts = np.abs(numbers).sum(-1) > 0
    return as_numpy(p.exception_atoms).reshape(-1, 2)[acts], numbers[acts]


def _torsions(p: ForceFieldParameters) -> tuple[np.ndarray, np.ndarray]:
    """Merge terms of the same four atoms: `k (1 + cos(n phi - g)) = k + k cos g cos(n phi) + k sin g sin(n phi)`."""
    merged: dict[tuple[int, ...], np.ndarray] = {}
    columns = (p.torsion_atoms, p.torsion_periodicity, p.torsion_phase, p.torsion_k)
    for atoms, periodicity, phase, k in zip(*(as_numpy(column) for column in columns), strict=True):
        if k == 0.0:
            continue
        quad = tuple(int(atom) for atom in (atoms if atoms[0] < atoms[-1] else atoms[::-1]))
        row = merged.setdefault(quad, np.zeros(1 + 2 * HIGHEST_PERIODICITY))
        row[0] += k
        row[2 * periodicity - 1] += k * np.cos(phase)
        row[2 * periodicity] += k * np.sin(phase)
    quads = np.array(list(merged), dtype=np.int64).reshape(-1, 4)
    rows = np.array(list(merged.values())).reshape(-1, 1 + 2 * HIGHEST_PERIODICITY)
    used = np.flatnonzero(np.abs(rows).sum(0) > 0)
    periods = (used[-1] + 1) // 2 if len(used) else 0
    return quads, rows[:, : 1 + 2 * periods]
