"""Constraints sorted into rigid triangles, which are solved sixteen at a time, and all others."""

from typing import NamedTuple

import numpy as np

from mdgen.errors import MdgenError
from mdgen.md.engines.lanes.lanes import LANES
from mdgen.md.force_field.parameters import ForceFieldParameters


class RigidTables(NamedTuple):
    """Constraints as the kernels read them, all in double precision.

    Args:
        triangle_atoms: int64 (group, 3, lane); the last group repeats its last triangle.
        triangles: float64 (group, 6, lane): squared lengths of sides 01, 12 and 20; inverse masses of the atoms.
        triangle_count: triangles that there are.
        starts: int64 (cluster + 1,): where the constraints of each other cluster begin.
        atoms: int64 (constraint, 2).
        numbers: float64 (constraint, 3): squared length; inverse masses.
    """

    triangle_atoms: np.ndarray
    triangles: np.ndarray
    triangle_count: int
    starts: np.ndarray
    atoms: np.ndarray
    numbers: np.ndarray


def rigid_tables(parameters: ForceFieldParameters) -> RigidTables:
    """Lay out the constraints.

    Raises:
        MdgenError: if a constraint joins an atom to itself or has no positive length.
    """
    atoms = parameters.constraint_atoms.detach().cpu().numpy().reshape(-1, 2)
    length = parameters.constraint_length.detach().cpu().numpy()
    inverse = 1 / parameters.masses.detach().cpu().numpy()
    for (i, j), distance in zip(atoms, length, strict=True):
        if i == j or not distance > 0:
            raise MdgenError(
                f"the constraint of atoms {i} and {j} to {distance} nm makes no sense; "
                "it needs two atoms and a positive length"
            )
    clusters = _clusters(atoms, parameters.n_atoms)
    triangles = [c for c in clusters if len(c) == 3 and len(np.unique(atoms[c])) == 3]
    others = [c for c in clusters if not (len(c) == 3 and len(np.unique(atoms[c])) == 3)]
    triangle_atoms, numbers = _triangles(triangles, atoms, length, inverse)
    order = np.concatenate([np.zeros(0, np.int64), *others]).astype(np.int64)
    return RigidTables(
        triangle_atoms,
        numbers,
        len(triangles),
        np.concatenate([[0], np.cumsum([len(c) for c in others])]).astype(np.int64),
        np.ascontiguousarray(atoms[order], np.int64),
        np.ascontiguousarray(np.concatenate([length[order, None] ** 2, inverse[atoms[order]]], -1), np.float64),
    )


def _clusters(atoms: np.ndarray, n_atoms: int) -> list[np.ndarray]:
    """Constraints that share atoms, directly or through others, by union and find."""
    root = np.arange(n_atoms)

    def find(atom: int) -> int:
        while root[atom] != atom:
            root[atom] = root[root[atom]]
            atom = root[atom]
        return atom

    for i, j in atoms:
        a, b = find(i), find(j)
        root[max(a, b)] = min(a, b)
    of = np.array([find(i) for i, _ in atoms], np.int64)
    order = np.argsort(of, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(of[order])) + 1) if len(order) else []


def _triangles(
    clusters: list[np.ndarray], atoms: np.ndarray, length: np.ndarray, inverse: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    groups = -(-len(clusters) // LANES)
    corners, numbers = np.zeros((groups, 3, LANES), np.int64), np.ones((groups, 6, LANES))
    for slot in range(groups * LANES):
        cluster = clusters[min(slot, len(clusters) - 1)]
        at = np.unique(atoms[cluster])
        sides = {frozenset(pair): value for pair, value in zip(atoms[cluster].tolist(), length[cluster], strict=True)}
        group, lane = divmod(slot, LANES)
        corners[group, :, lane] = at
        for side, (i, j) in enumerate(((0, 1), (1, 2), (2, 0))):
            numbers[group, side, lane] = sides[frozenset((int(at[i]), int(at[j])))] ** 2
        numbers[group, 3:, lane] = inverse[at]
    return corners, numbers
