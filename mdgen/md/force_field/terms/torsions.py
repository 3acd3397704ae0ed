"""Periodic torsions, proper and improper."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.geometry.dihedrals import dihedral_angles


def torsion_energy(
    positions: Float[Tensor, "replica atom 3"],
    atoms: Int[Tensor, "torsion 4"],
    periodicity: Int[Tensor, "torsion"],
    phase: Float[Tensor, "torsion"],
    k: Float[Tensor, "torsion"],
) -> Float[Tensor, "replica"]:
    """Sum of `k (1 + cos(n phi - phase))` in kJ/mol; IUPAC sign of phi."""
    return (k * (1 + torch.cos(periodicity * dihedral_angles(positions, atoms) - phase))).sum(-1)
