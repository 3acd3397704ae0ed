"""The types of residues that models tell apart."""

import torch
from jaxtyping import Int
from torch import Tensor

from mdgen.molecule.topology import Molecule

RESIDUE_TYPES = (
    *("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE"),
    *("LEU", "LYS", "MET", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL"),
    *("ACE", "NME", "NH2"),
    "unknown",
)
"""Amino acids, caps, and one type for all others."""


def residue_types(molecule: Molecule) -> Int[Tensor, "residue"]:
    """Index into `RESIDUE_TYPES` of each residue; that of `unknown` for a name which is not among them."""
    number = {name: index for index, name in enumerate(RESIDUE_TYPES)}
    return torch.tensor([number.get(each.name, number["unknown"]) for each in molecule.topology.residues])
