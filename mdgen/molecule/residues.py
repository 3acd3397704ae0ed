"""Residue types: what a model may know of a residue before it sees a structure."""

import torch
from jaxtyping import Int
from torch import Tensor

from mdgen.molecule.topology import Molecule

UNKNOWN = "UNK"

RESIDUE_TYPES = (
    UNKNOWN,  # first, so that padding by zeros says nothing
    *("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE"),
    *("LEU", "LYS", "MET", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL"),
    *("ACE", "NME"),
)
"""Types by their index: unknown, the twenty amino acids in the order of their names, and the caps of both ends."""

AMINO_ACIDS = slice(1, 21)
"""Where the twenty amino acids stand among `RESIDUE_TYPES`."""

_VARIANTS = {
    "HIS": ("HID", "HIE", "HIP", "HSD", "HSE", "HSP"),
    "CYS": ("CYX", "CYM"),
    "ASP": ("ASH", "ASPP"),
    "GLU": ("GLH", "GLUP"),
    "LYS": ("LYN", "LSN"),
    "ARG": ("ARN",),
    "TYR": ("TYM",),
}
PARENTS = {variant: parent for parent, variants in _VARIANTS.items() for variant in variants}
"""Protonation states by the names of AMBER and CHARMM, and the type that they count as."""

_INDEX = {name: index for index, name in enumerate(RESIDUE_TYPES)}
_INDEX |= {name: _INDEX[parent] for name, parent in PARENTS.items()}


def residue_types(molecule: Molecule) -> Int[Tensor, "residue"]:
    """The type of each residue, an index into `RESIDUE_TYPES`; AMBER's terminal forms (NALA, CALA) count too.

    >>> RESIDUE_TYPES.index("GLY")
    8
    """
    return torch.tensor([_type_of(residue.name.upper()) for residue in molecule.topology.residues])


def _type_of(name: str) -> int:
    if name not in _INDEX and len(name) == 4 and name[0] in "NC":
        name = name[1:]
    return _INDEX.get(name, _INDEX[UNKNOWN])
