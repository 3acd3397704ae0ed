"""Correction maps: energies on a periodic grid of two torsions (MacKerell et al., J. Comput. Chem. 2004, 25, 1400)."""

from math import pi

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.geometry.dihedrals import dihedral_angles


def cmap_energy(
    positions: Float[Tensor, "replica atom 3"],
    atoms: Int[Tensor, "correction 8"],
    which: Int[Tensor, "correction"],
    energy: Float[Tensor, "map size size"],
) -> Float[Tensor, "replica"]:
    """Sum of the maps in kJ/mol, between grid points by bicubic splines with periodic natural slopes.

    Atoms, numbers of the maps and energies are those of `CorrectionMaps`.
    """
    angles = torch.stack([dihedral_angles(positions, atoms[:, :4]), dihedral_angles(positions, atoms[:, 4:])])
    return spline_energy(angles, which, spline_knots(energy)).sum(-1)


def spline_energy(
    angles: Float[Tensor, "2 *shape"], which: Int[Tensor, "*#shape"], knots: Float[Tensor, "4 map size size"]
) -> Float[Tensor, "*shape"]:
    """Energy in kJ/mol of each correction, from its two angles in radians, its map and `spline_knots` of the maps."""
    size = knots.shape[-1]
    place = torch.remainder(angles, 2 * pi) * (size / (2 * pi))
    corner = place.detach().floor()
    (u, v), (i, j) = place - corner, corner.long() % size
    total = torch.zeros_like(u)
    across, along = _hermite(u), _hermite(v)
    for knot, (slope_u, slope_v) in zip(knots, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        for right in (0, 1):
            for up in (0, 1):
                value = knot[which, (i + right) % size, (j + up) % size]
                total = total + value * across[slope_u][right] * along[slope_v][up]
    return total


def spline_knots(energy: Float[Tensor, "map size size"]) -> Float[Tensor, "4 map size size"]:
    """Values at the grid points, and their slopes along the second, along the first and along both angles."""
    along = _slopes(energy, -1)
    return torch.stack([energy, along, _slopes(energy, -2), _slopes(_slopes(energy, -2), -1)])


def _hermite(t: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The cubic polynomials that carry the values, then the slopes, at the lower and the upper end of a unit cell."""
    square, cube = t * t, t * t * t
    upper = 3 * square - 2 * cube
    return (1 - upper, upper), (cube - 2 * square + t, cube - square)


def _slopes(values: Float[Tensor, "map size size"], axis: int) -> Float[Tensor, "map size size"]:
    """Slopes per grid step of the periodic cubic spline: `m[i-1] + 4 m[i] + m[i+1] = 3 (f[i+1] - f[i-1])`."""
    one = torch.eye(values.shape[axis], dtype=values.dtype, device=values.device)
    matrix = 4 * one + one.roll(1, 0) + one.roll(-1, 0)
    right = 3 * (values.roll(-1, axis) - values.roll(1, axis))
    return torch.linalg.solve(matrix, right.movedim(axis, -2)).movedim(-2, axis)
