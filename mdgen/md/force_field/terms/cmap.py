"""Correction maps: energies on a periodic grid of two torsions (MacKerell et al., J. Comput. Chem. 2004, 25, 1400)."""

from math import pi

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.geometry.dihedrals import dihedral_angles

_CUBIC = ((2.0, -2.0, 1.0, 1.0), (-3.0, 3.0, -2.0, -1.0), (0.0, 0.0, 1.0, 0.0), (1.0, 0.0, 0.0, 0.0))
"""Coefficients of the cubic on the unit interval, highest power first, from its two values and its two slopes."""


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
    size = energy.shape[-1]
    place = torch.remainder(angles, 2 * pi) * (size / (2 * pi))
    corner = place.detach().floor()
    i, j = corner.long() % size
    u, v = torch.stack([(place - corner) ** power for power in (3, 2, 1, 0)], -1)
    return torch.einsum("rcp,rcpq,rcq->r", u, cell_polynomials(energy)[which, i, j], v)


def cell_polynomials(energy: Float[Tensor, "map size size"]) -> Float[Tensor, "map size size 4 4"]:
    """Bicubic polynomial of every cell of the maps, highest powers first.

    The energy at the fractions u and v of the cell `(i, j)` is `sum_pq c[i, j, p, q] u^(3-p) v^(3-q)`.
    """
    cubic = torch.tensor(_CUBIC, dtype=energy.dtype, device=energy.device)
    return cubic @ _ends(_ends(energy)) @ cubic.T


def _ends(values: Float[Tensor, "*shape size other"]) -> Float[Tensor, "*shape size other 4"]:
    """Values at the lower and the upper end of every interval of the last axis but one, then the slopes there.

    Slopes per grid step are those of the periodic cubic spline: `m[i-1] + 4 m[i] + m[i+1] = 3 (f[i+1] - f[i-1])`.
    """
    one = torch.eye(values.shape[-2], dtype=values.dtype, device=values.device)
    matrix = 4 * one + one.roll(1, 0) + one.roll(-1, 0)
    slopes = torch.linalg.solve(matrix, 3 * (values.roll(-1, -2) - values.roll(1, -2)))
    return torch.stack([values, values.roll(-1, -2), slopes, slopes.roll(-1, -2)], -1)
