"""Harmonic impropers, as CHARMM keeps planar groups planar."""

from math import pi

from jaxtyping import Float, Int
from torch import Tensor

from mdgen.geometry.dihedrals import dihedral_angles


def improper_energy(
    positions: Float[Tensor, "replica atom 3"],
    atoms: Int[Tensor, "improper 4"],
    theta0: Float[Tensor, "improper"],
    k: Float[Tensor, "improper"],
) -> Float[Tensor, "replica"]:
    """Sum of `k d^2` in kJ/mol, d the difference of the torsion to `theta0` the short way round."""
    difference = dihedral_angles(positions, atoms) - theta0
    return (k * (difference - 2 * pi * (difference / (2 * pi)).detach().round()).square()).sum(-1)
