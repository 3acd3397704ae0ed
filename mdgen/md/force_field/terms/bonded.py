"""Bonded terms: harmonic bonds, angles and impropers, periodic torsions."""

from math import pi

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.geometry.dihedrals import bond_angles, bond_lengths, dihedral_angles


def bond_energy(
    positions: Float[Tensor, "replica atom 3"],
    atoms: Int[Tensor, "bond 2"],
    length: Float[Tensor, "bond"],
    k: Float[Tensor, "bond"],
) -> Float[Tensor, "replica"]:
    """Sum of `k (r - r0)^2` in kJ/mol; `length` in nm, `k` in kJ/mol/nm^2."""
    return (k * (bond_lengths(positions, atoms) - length).square()).sum(-1)


def angle_energy(
    positions: Float[Tensor, "replica atom 3"],
    atoms: Int[Tensor, "angle 3"],
    theta0: Float[Tensor, "angle"],
    k: Float[Tensor, "angle"],
) -> Float[Tensor, "replica"]:
    """Sum of `k (theta - theta0)^2` in kJ/mol; the angle is at the middle atom, `k` in kJ/mol/rad^2."""
    return (k * (bond_angles(positions, atoms) - theta0).square()).sum(-1)


def torsion_energy(
    positions: Float[Tensor, "replica atom 3"],
    atoms: Int[Tensor, "torsion 4"],
    periodicity: Int[Tensor, "torsion"],
    phase: Float[Tensor, "torsion"],
    k: Float[Tensor, "torsion"],
) -> Float[Tensor, "replica"]:
    """Sum of `k (1 + cos(n phi - phase))` in kJ/mol; IUPAC sign of phi."""
    return (k * (1 + torch.cos(periodicity * dihedral_angles(positions, atoms) - phase))).sum(-1)


def improper_energy(
    positions: Float[Tensor, "replica atom 3"],
    atoms: Int[Tensor, "improper 4"],
    theta0: Float[Tensor, "improper"],
    k: Float[Tensor, "improper"],
) -> Float[Tensor, "replica"]:
    """Sum of `k d^2` in kJ/mol, d the difference of the torsion to `theta0` the short way round."""
    difference = dihedral_angles(positions, atoms) - theta0
    return (k * (difference - 2 * pi * (difference / (2 * pi)).detach().round()).square()).sum(-1)
