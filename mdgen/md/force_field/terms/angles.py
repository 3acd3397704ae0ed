"""Harmonic angles."""

from jaxtyping import Float, Int
from torch import Tensor

from mdgen.geometry.dihedrals import bond_angles


def angle_energy(
    positions: Float[Tensor, "replica atom 3"],
    atoms: Int[Tensor, "angle 3"],
    theta0: Float[Tensor, "angle"],
    k: Float[Tensor, "angle"],
) -> Float[Tensor, "replica"]:
    """Sum of `k (theta - theta0)^2` in kJ/mol; the angle is at the middle atom, `k` in kJ/mol/rad^2."""
    return (k * (bond_angles(positions, atoms) - theta0).square()).sum(-1)
