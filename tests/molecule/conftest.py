"""Small molecules that the tests of this room share, built from names alone."""

import mdtraj
import pytest

from mdgen.molecule.topology import Molecule

CAP_BEFORE = ("ACE", "H1 CH3 H2 H3 C O", "H1-CH3 H2-CH3 H3-CH3 CH3-C C-O")
ALANINE = (
    "ALA",
    "N H CA HA CB HB1 HB2 HB3 C O",
    "N-H N-CA CA-HA CA-CB CB-HB1 CB-HB2 CB-HB3 CA-C C-O",
)
CAP_AFTER = ("NME", "N H C H1 H2 H3", "N-H N-C C-H1 C-H2 C-H3")
ISOLEUCINE = (
    "ILE",
    "N H CA HA CB HB CG1 HG12 HG13 CG2 HG21 HG22 HG23 CD1 HD11 HD12 HD13 C O",
    "N-H N-CA CA-HA CA-CB CB-HB CB-CG1 CG1-HG12 CG1-HG13 CB-CG2 CG2-HG21 CG2-HG22 CG2-HG23 CG1-CD1 CD1-HD11 "
    "CD1-HD12 CD1-HD13 CA-C C-O",
)
TRYPTOPHAN = (
    "TRP",
    "N H CA HA CB HB2 HB3 CG CD1 HD1 NE1 HE1 CE2 CZ2 HZ2 CH2 HH2 CZ3 HZ3 CE3 HE3 CD2 C O",
    "N-H N-CA CA-HA CA-CB CB-HB2 CB-HB3 CB-CG CG-CD1 CD1-HD1 CD1-NE1 NE1-HE1 NE1-CE2 CE2-CZ2 CZ2-HZ2 CZ2-CH2 "
    "CH2-HH2 CH2-CZ3 CZ3-HZ3 CZ3-CE3 CE3-HE3 CE3-CD2 CD2-CE2 CD2-CG CA-C C-O",
)


def peptide(*residues: tuple[str, str, str], cyclic: bool = False) -> Molecule:
    """A chain of residues, each given by its name, its atoms and its bonds."""
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    named = []
    for number, (name, atoms, bonds) in enumerate(residues, start=1):
        residue = topology.add_residue(name, chain, resSeq=number)
        own = {atom: topology.add_atom(atom, mdtraj.element.get_by_symbol(atom[0]), residue) for atom in atoms.split()}
        for bond in bonds.split():
            first, second = bond.split("-")
            topology.add_bond(own[first], own[second])
        named.append(own)
    for before, after in zip(named, named[1:] + named[:1] if cyclic else named[1:], strict=False):
        topology.add_bond(before["C"], after["N"])
    return Molecule.from_mdtraj(topology)


@pytest.fixture
def alanine_dipeptide() -> Molecule:
    return peptide(CAP_BEFORE, ALANINE, CAP_AFTER)


@pytest.fixture
def ring_peptide() -> Molecule:
    return peptide(CAP_BEFORE, TRYPTOPHAN, ISOLEUCINE, CAP_AFTER)


@pytest.fixture
def cyclic_peptide() -> Molecule:
    return peptide(ALANINE, ISOLEUCINE, ALANINE, ALANINE, cyclic=True)
