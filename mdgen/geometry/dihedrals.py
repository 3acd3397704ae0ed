"""Bond lengths, bond angles and dihedral angles of positions, batched and differentiable.

Every function takes a table of indices into the `atom` axis and evaluates all of its rows at once.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def bond_lengths(
    positions: Float[Tensor, "*batch atom 3"], pairs: Int[Tensor, "bond 2"] | Int[np.ndarray, "bond 2"]
) -> Float[Tensor, "*batch bond"]:
    """Distance in nm between the two atoms of each pair.

    >>> bond_lengths(torch.tensor([[0.0, 0, 0], [0, 3, 4]]), torch.tensor([[0, 1]]))
    tensor([5.])
    """
    first, second = _gathered(positions, pairs, 2)
    return torch.linalg.vector_norm(second - first, dim=-1)


def bond_angles(
    positions: Float[Tensor, "*batch atom 3"], triples: Int[Tensor, "angle 3"] | Int[np.ndarray, "angle 3"]
) -> Float[Tensor, "*batch angle"]:
    """Angle in radians, 0 to pi, at the middle atom of each triple.

    Computed as atan2(|u x v|, u . v), which unlike arccos keeps full precision and a finite gradient for collinear
    atoms.
    """
    first, middle, last = _gathered(positions, triples, 3)
    to_first, to_last = first - middle, last - middle
    sine = torch.linalg.vector_norm(torch.linalg.cross(to_first, to_last), dim=-1)
    return torch.atan2(sine, (to_first * to_last).sum(-1))


def dihedral_angles(
    positions: Float[Tensor, "*batch atom 3"], quads: Int[Tensor, "dihedral 4"] | Int[np.ndarray, "dihedral 4"]
) -> Float[Tensor, "*batch dihedral"]:
    """Dihedral angle in radians, -pi to pi, of each quadruple; IUPAC sign, as in mdtraj.

    With b1, b2, b3 the three bond vectors, phi = atan2(|b2| b1 . (b2 x b3), (b1 x b2) . (b2 x b3)): smooth at 0,
    with a jump of 2 pi at pi. It is undefined where three consecutive atoms are collinear.
    """
    a, b, c, d = _gathered(positions, quads, 4)
    axis = c - b
    before, after = torch.linalg.cross(b - a, axis), torch.linalg.cross(axis, d - c)
    sine = torch.linalg.vector_norm(axis, dim=-1) * ((b - a) * after).sum(-1)
    return torch.atan2(sine, (before * after).sum(-1))


def _gathered(positions: Tensor, indices: Tensor | np.ndarray, columns: int) -> tuple[Tensor, ...]:
    table = torch.as_tensor(indices, device=positions.device, dtype=torch.long).reshape(-1, columns)
    return tuple(positions.index_select(-2, column) for column in table.unbind(-1))
