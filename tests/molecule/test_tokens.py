"""Tokens from the bond graph: which torsions a residue has, who hangs on what, and what is refused."""

import numpy as np
import pytest

from mdgen.errors import MdgenError
from mdgen.molecule.tokens import TORSION_SLOTS, token_layout
from mdgen.molecule.topology import Molecule
from tests.molecule.conftest import ALANINE, CAP_AFTER, CAP_BEFORE, ISOLEUCINE, peptide


def names(molecule, token):
    layout, topology = token_layout(molecule), molecule.topology
    real = [quad for quad in layout.torsion_atoms[token].tolist() if quad[0] >= 0]
    return ["-".join(topology.atom(atom).name for atom in quad) for quad in real]


def changed(molecule, change):
    document = molecule.to_json()
    change(document)
    return Molecule.from_json(document)


def test_alanine_dipeptide_has_three_tokens_and_five_torsions(alanine_dipeptide):
    assert token_layout(alanine_dipeptide).n_tokens == 3
    assert names(alanine_dipeptide, 0) == ["O-C-CH3-H1"]
    assert names(alanine_dipeptide, 1) == ["N-CA-C-O", "C-CA-N-H", "N-CA-CB-HB1"]
    assert names(alanine_dipeptide, 2) == ["H-N-C-H1"]


def test_rings_are_rigid_and_chis_come_before_methyls(ring_peptide):
    assert names(ring_peptide, 1) == ["N-CA-C-O", "C-CA-N-H", "N-CA-CB-CG", "CA-CB-CG-CD1"]
    assert names(ring_peptide, 2)[2:] == ["N-CA-CB-CG1", "CA-CB-CG1-CD1", "CA-CB-CG2-HG21", "CB-CG1-CD1-HD11"]


def test_every_atom_hangs_on_one_body_and_groups_come_level_by_level(ring_peptide):
    layout = token_layout(ring_peptide)
    assert layout.torsion_atoms.shape == (4, TORSION_SLOTS, 4)
    bodies = layout.n_tokens + len(layout.group_level)
    assert sorted(set(layout.atom_body.tolist())) == list(range(bodies))
    assert (np.diff(layout.group_level) >= 0).all()


def test_a_cyclic_peptide_closes_and_its_links_share_no_residue_of_a_colour(cyclic_peptide):
    layout = token_layout(cyclic_peptide)
    assert len(layout.links) == 4
    for colour in set(layout.link_colour.tolist()):
        tokens = layout.link_tokens[layout.link_colour == colour].ravel().tolist()
        assert colour >= 0
        assert len(set(tokens)) == len(tokens)


def test_unknown_residues_gaps_and_missing_atoms_are_refused_by_name(alanine_dipeptide):
    def rename(document):
        document["residues"][1][0] = "XYZ"

    with pytest.raises(MdgenError, match="XYZ2"):
        token_layout(changed(alanine_dipeptide, rename))

    def cut(document):
        document["bonds"].remove([14, 16] if [14, 16] in document["bonds"] else [4, 6])

    with pytest.raises(MdgenError, match=r"bonds of 3|gap between"):
        token_layout(changed(alanine_dipeptide, cut))
    no_beta = ("ALA", "N H CA HA C O", "N-H N-CA CA-HA CA-C C-O")
    with pytest.raises(MdgenError, match="ALA2 lacks CB"):
        token_layout(peptide(CAP_BEFORE, no_beta, CAP_AFTER))
    with pytest.raises(MdgenError, match="C of residue ILE2 has 2 bonds of 3"):
        token_layout(peptide(CAP_BEFORE, ISOLEUCINE))
    no_hydrogen = ("ALA", *(part.replace(" H ", " ").replace("N-H ", "") for part in ALANINE[1:]))
    with pytest.raises(MdgenError, match="N of residue ALA2 has 2 bonds of 3"):
        token_layout(peptide(CAP_BEFORE, no_hydrogen, CAP_AFTER))


def test_a_gap_inside_a_chain_is_refused():
    ended = ("ALA", ALANINE[1] + " OXT", ALANINE[2] + " C-OXT")
    begun = ("ALA", ALANINE[1] + " H2", ALANINE[2] + " N-H2")
    whole = peptide(CAP_BEFORE, ended, begun, CAP_AFTER)
    document = whole.to_json()
    atoms = document["atoms"]
    carbon = next(i for i, (name, _, residue) in enumerate(atoms) if (name, residue) == ("C", 1))
    nitrogen = next(i for i, (name, _, residue) in enumerate(atoms) if (name, residue) == ("N", 2))
    document["bonds"].remove([carbon, nitrogen])
    with pytest.raises(MdgenError, match="gap between ALA2 and ALA3"):
        token_layout(Molecule.from_json(document))
