"""Every residue has the type of its parent amino acid, whichever protonation state or end it is."""

import mdtraj
import pytest

from mdgen.molecule.residues import PARENTS, RESIDUE_TYPES, residue_types
from mdgen.molecule.topology import Molecule

from .conftest import ALANINE, CAP_AFTER, CAP_BEFORE, ISOLEUCINE, peptide


def named(*names: str) -> Molecule:
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for name in names:
        topology.add_atom("CA", mdtraj.element.carbon, topology.add_residue(name, chain))
    return Molecule(topology)  # names as they are, without the standard ones of `from_mdtraj`


def test_types_follow_the_residues() -> None:
    types = residue_types(peptide(CAP_BEFORE, ALANINE, ISOLEUCINE, CAP_AFTER))
    assert [RESIDUE_TYPES[index] for index in types.tolist()] == ["ACE", "ALA", "ILE", "NME"]


def test_there_are_twenty_amino_acids_two_caps_and_the_unknown() -> None:
    assert len(set(RESIDUE_TYPES)) == len(RESIDUE_TYPES) == 23
    assert RESIDUE_TYPES[0] == "UNK"
    assert set(PARENTS.values()) <= set(RESIDUE_TYPES)


VARIANTS = {"HIE": "HIS", "HSP": "HIS", "CYX": "CYS", "CYM": "CYS", "ASH": "ASP", "GLH": "GLU", "LYN": "LYS"}
ENDS = {"NALA": "ALA", "CGLY": "GLY", "NHIE": "HIS"}
OTHERS = {"HOH": "UNK", "CXYZ": "UNK"}


@pytest.mark.parametrize(("name", "parent"), [*VARIANTS.items(), *ENDS.items(), *OTHERS.items()])
def test_variants_count_as_their_parent(name: str, parent: str) -> None:
    assert RESIDUE_TYPES[residue_types(named(name)).item()] == parent
