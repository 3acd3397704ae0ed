"""Constraints sorted into rigid triangles, which are solved sixteen at a time, and all others."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mdgen.md.engines.lanes.bonded_terms import as_numpy
from mdgen.md.engines.lanes.layouts import in_lanes
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
    """Lay out the constraints."""
    atoms, length = as_numpy(parameters.constraint_atoms).reshape(-1, 2), as_numpy(parameters.constraint_length)
    inverse = 1 / as_numpy(parameters.masses)
    # Constraints that share atoms, directly or through others, are a cluster.
    graph = coo_array((np.ones(len(atoms)), (atoms[:, 0], atoms[:, 1])), shape=(parameters.n_atoms,) * 2)
    label = connected_components(graph, directed=False)[1][atoms[:, 0]]
    order = np.argsort(label, kind="stable")
    clusters = np.split(order, np.flatnonzero(np.diff(label[order])) + 1)
    triangles = [cluster for cluster in clusters if _is_triangle(atoms[cluster])]
    others = [cluster for cluster in clusters if len(cluster) and not _is_triangle(atoms[cluster])]
    of = np.array(triangles, np.int64).reshape(-1, 3)
    # In ascending order the sides of a triangle are 01, 02 and 12.
    pairs = np.sort(atoms[of], -1)
    sides = np.take_along_axis(of, np.lexsort((pairs[..., 1], pairs[..., 0]))[:, [0, 2, 1]], 1)
    corners = np.sort(atoms[of].reshape(-1, 6), -1)[:, ::2]
    order = np.concatenate([np.zeros(0, np.int64), *others])
    return RigidTables(
        np.ascontiguousarray(in_lanes(corners)),
        np.ascontiguousarray(in_lanes(np.concatenate([length[sides] ** 2, inverse[corners]], -1))),
        len(triangles),
        np.cumsum([0, *(len(cluster) for cluster in others)]),
        np.ascontiguousarray(atoms[order]),
        np.ascontiguousarray(np.concatenate([length[order, None] ** 2, inverse[atoms[order]]], -1)),
    )


def _is_triangle(atoms: np.ndarray) -> bool:
    return len(atoms) == 3 and len(np.unique(atoms)) == 3
