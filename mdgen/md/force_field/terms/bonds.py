"""Harmonic bonds."""

from jaxtyping import Float, Int
from torch import Tensor

from mdgen.geometry.dihedrals import bond_lengths


def bond_energy(
    positions: Float[Tensor, "replica atom 3"],
    atoms: Int[Tensor, "bond 2"],
    length: Float[Tensor, "bond"],
    k: Float[Tensor, "bond"],
) -> Float[Tensor, "replica"]:
    """Sum of `k (r - r0)^2` in kJ/mol; `length` in nm, `k` in kJ/mol/nm^2."""
    return (k * (bond_lengths(positions, atoms) - length).square()).sum(-1)
