"""The torsions of a molecule by their names: backbone, omega, side chain and methyl rotors.

Found by atom names along existing bonds, so caps (ACE, NME), cyclic chains and branched ones need no special case.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from mdtraj.geometry.dihedral import CHI1_ATOMS, CHI2_ATOMS, CHI3_ATOMS, CHI4_ATOMS, CHI5_ATOMS

from mdgen.errors import MdgenError
from mdgen.molecule.topology import Molecule

KINDS = ("backbone", "omega", "side_chain", "methyl")
"""phi and psi; the peptide bond; chi1 to chi5; the rotation of each CH3 group."""


@dataclass(frozen=True)
class Torsion:
    """One torsion.

    Args:
        name: name for reading, such as `phi ALA2`; unique within the molecule.
        residue: index of the residue it belongs to.
        atoms: indices of the four atoms, in IUPAC order.
        kind: one of `KINDS`.
    """

    name: str
    residue: int
    atoms: tuple[int, int, int, int]
    kind: str


def torsions(molecule: Molecule, kinds: Sequence[str] = ("backbone", "side_chain")) -> tuple[Torsion, ...]:
    """All torsions of the given kinds, residue by residue: phi, psi, omega, chi1 to chi5, methyl.

    As in mdtraj, omega belongs to the residue before the peptide bond.

    Raises:
        MdgenError: if a kind is unknown or the bonds of a residue are not known.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise MdgenError(f"there is no torsion kind {kind!r}; choose from {', '.join(KINDS)}")
    molecule.require_bonded()
    labels = _residue_labels(molecule)
    return tuple(
        Torsion(f"{symbol} {label}", residue, atoms, kind)
        for residue, label in enumerate(labels)
        for find in (_backbone, _side_chain, _methyl)
        for symbol, atoms, kind in find(molecule, residue)
        if kind in kinds
    )


def torsion_atoms(chosen: Sequence[Torsion]) -> Int[np.ndarray, "torsion 4"]:
    """The atoms of the torsions as the index table that `geometry.dihedrals.dihedral_angles` takes."""
    return np.array([torsion.atoms for torsion in chosen], dtype=np.int64).reshape(-1, 4)


_Found = Iterator[tuple[str, tuple[int, int, int, int], str]]


def _backbone(molecule: Molecule, residue: int) -> _Found:
    own = _named(molecule, residue)
    nitrogen, alpha, carbonyl = (own.get(name) for name in ("N", "CA", "C"))
    before = _across(molecule, nitrogen, "C")
    after = _across(molecule, carbonyl, "N")
    if None not in (nitrogen, alpha, carbonyl):
        if before is not None:
            yield "phi", (before, nitrogen, alpha, carbonyl), "backbone"  # type: ignore[arg-type]
        if after is not None:
            yield "psi", (nitrogen, alpha, carbonyl, after), "backbone"  # type: ignore[arg-type]
    if carbonyl is not None and after is not None:
        left, right = _peptide_carbon(molecule, carbonyl), _peptide_carbon(molecule, after)
        if left is not None and right is not None:
            yield "omega", (left, carbonyl, after, right), "omega"


def _side_chain(molecule: Molecule, residue: int) -> _Found:
    own = _named(molecule, residue)
    for number, alternatives in enumerate((CHI1_ATOMS, CHI2_ATOMS, CHI3_ATOMS, CHI4_ATOMS, CHI5_ATOMS), start=1):
        for names in alternatives:
            if all(name in own for name in names):
                first, second, third, fourth = (own[name] for name in names)
                yield f"chi{number}", (first, second, third, fourth), "side_chain"
                break


def _methyl(molecule: Molecule, residue: int) -> _Found:
    for atom in molecule.topology.residue(residue).atoms:
        hydrogens, heavy = _split_by_hydrogen(molecule, atom.index)
        if molecule.elements[atom.index] != "C" or len(hydrogens) != 3 or len(heavy) != 1:
            continue
        light, anchors = _split_by_hydrogen(molecule, heavy[0])
        far = [near for near in (*anchors, *light) if near != atom.index]
        if far:
            yield f"methyl {atom.name}", (far[0], heavy[0], atom.index, hydrogens[0]), "methyl"


def _named(molecule: Molecule, residue: int) -> dict[str, int]:
    return {atom.name: atom.index for atom in molecule.topology.residue(residue).atoms}


def _across(molecule: Molecule, atom: int | None, name: str) -> int | None:
    """The atom called `name` that `atom` is bonded to in another residue."""
    if atom is None:
        return None
    topology = molecule.topology
    home = topology.atom(atom).residue.index
    near = [topology.atom(index) for index in molecule.neighbours[atom]]
    return next((each.index for each in near if each.name == name and each.residue.index != home), None)


def _peptide_carbon(molecule: Molecule, atom: int) -> int | None:
    """The carbon that continues the chain from a peptide group's C or N: CA, or the methyl carbon of a cap."""
    topology = molecule.topology
    home = topology.atom(atom).residue.index
    near = [topology.atom(index) for index in molecule.neighbours[atom] if molecule.elements[index] == "C"]
    carbons = [each for each in near if each.residue.index == home]
    return min(carbons, key=lambda each: each.name != "CA").index if carbons else None


def _split_by_hydrogen(molecule: Molecule, atom: int) -> tuple[list[int], list[int]]:
    hydrogens = [near for near in molecule.neighbours[atom] if molecule.elements[near] == "H"]
    return hydrogens, [near for near in molecule.neighbours[atom] if near not in hydrogens]


def _residue_labels(molecule: Molecule) -> list[str]:
    residues = list(molecule.topology.residues)
    labels = [str(residue) for residue in residues]
    # two chains may both have an ALA2, and then need the chain, or failing that the residue's index, to tell them apart
    for ends in ([f"chain {each.chain.index}" for each in residues], [f"residue {each.index}" for each in residues]):
        counts = Counter(labels)
        labels = [f"{label} {end}" if counts[label] > 1 else label for label, end in zip(labels, ends, strict=True)]
    return labels
