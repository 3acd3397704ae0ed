"""Peptides in extended form, heavy atoms from ideal internal coordinates.

The table of side chains is `residue_geometry.json`. Hydrogens and the relaxation of strain are for `systems`.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import openmm.app
from jaxtyping import Float

from mdgen.errors import MdgenError

ONE_LETTER = {
    "A": "ALA", "R": "ARG", "N": "ASN", "D": "ASP", "C": "CYS", "Q": "GLN", "E": "GLU", "G": "GLY", "H": "HIS",
    "I": "ILE", "L": "LEU", "K": "LYS", "M": "MET", "F": "PHE", "P": "PRO", "S": "SER", "T": "THR", "W": "TRP",
    "Y": "TYR", "V": "VAL",
}  # fmt: skip
"""Residue name of each one-letter code."""

_PHI, _PSI, _PHI_PROLINE = -120.0, 140.0, -70.0
_BOND = {"N-CA": 0.1458, "CA-C": 0.1525, "C-N": 0.1329, "C-O": 0.1231}
_ANGLE = {"N-CA-C": 111.0, "CA-C-N": 116.9, "C-N-CA": 121.9, "O-C-N": 122.7, "CA-C-O": 118.0}

Atoms = dict[str, Float[np.ndarray, "3"]]


def extended_peptide(sequence: str, capped: bool = True) -> tuple[openmm.app.Topology, Float[np.ndarray, "atom 3"]]:
    """Topology and positions (nm) of the heavy atoms of a peptide, phi = -120 and psi = 140 degrees.

    Args:
        sequence: one-letter codes; `A` with caps is alanine dipeptide, ACE-ALA-NME.
        capped: end in acetyl and N-methyl; otherwise in an amino and a carboxyl group, both charged at pH 7.

    Raises:
        MdgenError: if the sequence is empty, holds a letter that is no residue, or is one residue without caps.
    """
    names = residue_names(sequence)
    if len(names) == 1 and not capped:
        raise MdgenError(
            f"sequence {sequence!r} without caps is a free amino acid, for which the force fields have no parameters; "
            "give two residues or more, or capped=true"
        )
    backbone = _backbone(names, capped)
    residues = (["ACE"] if capped else []) + names + (["NME"] if capped else [])
    topology = openmm.app.Topology()
    chain = topology.addChain()
    positions = []
    for index, (name, atoms) in enumerate(zip(residues, backbone, strict=True)):
        following = backbone[index + 1] if index + 1 < len(backbone) else None
        if "C" in atoms and name != "NME":
            _add_carbonyl(atoms, following)
        for row in _side_chains().get(name, []):
            atom, bonded, angle_to, dihedral_to, *numbers = row
            atoms[atom] = _placed(atoms[bonded], atoms[angle_to], atoms[dihedral_to], *numbers)
        residue = topology.addResidue(name, chain)
        for atom, position in atoms.items():
            topology.addAtom(atom, openmm.app.Element.getBySymbol(atom[0]), residue)
            positions.append(position)
    topology.createStandardBonds()
    return topology, np.array(positions)


def residue_names(sequence: str) -> list[str]:
    """Three-letter names of a one-letter sequence.

    >>> residue_names("IPGD")
    ['ILE', 'PRO', 'GLY', 'ASP']

    Raises:
        MdgenError: naming the letter that is no residue, and those that are.
    """
    for position, letter in enumerate(sequence, 1):
        if letter not in ONE_LETTER:
            if letter.upper() in ONE_LETTER:
                raise MdgenError(f"sequence {sequence!r} has small letters; did you mean {sequence.upper()!r}?")
            raise MdgenError(
                f"residue {letter!r} at position {position} of sequence {sequence!r} is unknown; "
                f"known one-letter codes are {''.join(sorted(ONE_LETTER))}"
            )
    if not sequence:
        raise MdgenError("the sequence is empty; give one-letter codes such as 'A' or 'IPGD'")
    return [ONE_LETTER[letter] for letter in sequence]


def _backbone(names: list[str], capped: bool) -> list[Atoms]:
    """Backbone atoms of every residue, caps included: a chain grown one atom after another."""
    chain: list[tuple[int, str, float, float, float]] = []  # residue, atom, then how it follows the three before it
    if capped:
        chain += [(0, atom, _BOND["CA-C"], _ANGLE["N-CA-C"], 180.0) for atom in ("CH3", "C")]
    for offset, name in enumerate(names, int(capped)):
        chain.append((offset, "N", _BOND["C-N"], _ANGLE["CA-C-N"], _PSI))
        chain.append((offset, "CA", _BOND["N-CA"], _ANGLE["C-N-CA"], 180.0))
        phi = _PHI_PROLINE if name == "PRO" else _PHI
        chain.append((offset, "C", _BOND["CA-C"], _ANGLE["N-CA-C"], phi))
    if capped:
        chain.append((len(names) + 1, "N", _BOND["C-N"], _ANGLE["CA-C-N"], _PSI))
        chain.append((len(names) + 1, "C", _BOND["N-CA"], _ANGLE["C-N-CA"], 180.0))
    residues: list[Atoms] = [{} for _ in range(chain[-1][0] + 1)]
    # Three points before the first atom fix how the whole chain lies in space, and nothing else.
    grown = [np.array([0.0, 0.1, 0.1]), np.array([0.0, 0.1, 0.0]), np.zeros(3)]
    for residue, atom, bond, angle, dihedral in chain:
        grown.append(_placed(grown[-1], grown[-2], grown[-3], bond, angle, dihedral))
        residues[residue][atom] = grown[-1]
    return residues


def _add_carbonyl(atoms: Atoms, following: Atoms | None) -> None:
    """Place the oxygen of a peptide bond trans to the next alpha carbon's amide, or both of a carboxylate."""
    if following is None:
        atoms["O"] = _placed(atoms["C"], atoms["CA"], atoms["N"], 0.125, _ANGLE["CA-C-O"], _PSI - 180.0)
        atoms["OXT"] = _placed(atoms["C"], atoms["CA"], atoms["N"], 0.125, _ANGLE["CA-C-O"], _PSI)
    else:
        beyond = following.get("CA", following["C"])
        atoms["O"] = _placed(atoms["C"], following["N"], beyond, _BOND["C-O"], _ANGLE["O-C-N"], 0.0)


def _placed(
    bonded: np.ndarray, angle_to: np.ndarray, dihedral_to: np.ndarray, bond: float, angle: float, dihedral: float
) -> np.ndarray:
    """Position of an atom from its internal coordinates (nm, degrees), with mdtraj's sign of the dihedral."""
    theta, phi = np.radians(angle), np.radians(dihedral)
    axis = bonded - angle_to
    axis = axis / np.linalg.norm(axis)
    normal = np.cross(angle_to - dihedral_to, axis)
    normal = normal / np.linalg.norm(normal)
    return bonded + bond * (
        -np.cos(theta) * axis
        + np.sin(theta) * np.cos(phi) * np.cross(normal, axis)
        + np.sin(theta) * np.sin(phi) * normal
    )


@cache
def _side_chains() -> dict[str, list]:
    return json.loads(Path(__file__).with_name("residue_geometry.json").read_text())["residues"]
