"""Laws of a molecule: round trips, one fingerprint whatever the source, and refusals in one sentence."""

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from mdgen.errors import MdgenError
from mdgen.md.systems.build import build_system
from mdgen.molecule.topology import Molecule

from .conftest import ALANINE, CAP_AFTER, CAP_BEFORE, peptide


def written_pdb(molecule: Molecule, path: Path) -> Path:
    positions = np.random.default_rng(0).normal(size=(1, molecule.n_atoms, 3))
    mdtraj.Trajectory(positions, molecule.topology).save_pdb(str(path))
    return path


def test_json_round_trip(ring_peptide: Molecule) -> None:
    again = Molecule.from_json(json.loads(json.dumps(ring_peptide.to_json())))
    assert again == ring_peptide
    assert again.fingerprint == ring_peptide.fingerprint
    assert [str(r) for r in again.topology.residues] == [str(r) for r in ring_peptide.topology.residues]


def test_broken_json_is_refused(ring_peptide: Molecule) -> None:
    document = ring_peptide.to_json()
    del document["bonds"]
    with pytest.raises(MdgenError, match="no molecule"):
        Molecule.from_json(document)


@pytest.mark.parametrize("suffix", ["pdb", "h5"])
def test_same_fingerprint_from_files(alanine_dipeptide: Molecule, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"molecule.{suffix}"
    mdtraj.Trajectory(np.zeros((1, alanine_dipeptide.n_atoms, 3)), alanine_dipeptide.topology).save(str(path))
    assert Molecule.from_file(path) == alanine_dipeptide


def test_standard_bonds_are_made_where_there_are_none(alanine_dipeptide: Molecule) -> None:
    bare = mdtraj.Topology()
    chain = bare.add_chain()
    for residue in alanine_dipeptide.topology.residues:
        new = bare.add_residue(residue.name, chain, resSeq=residue.resSeq)
        for atom in residue.atoms:
            bare.add_atom(atom.name, atom.element, new)
    assert bare.n_bonds == 0
    assert Molecule.from_mdtraj(bare) == alanine_dipeptide
    assert bare.n_bonds == 0, "the caller's topology was changed"


def test_masses_and_bonds(alanine_dipeptide: Molecule) -> None:
    assert alanine_dipeptide.masses.sum() == pytest.approx(144.17, abs=0.02)
    assert alanine_dipeptide.bonds.shape == (21, 2)
    assert (alanine_dipeptide.bonds[:, 0] < alanine_dipeptide.bonds[:, 1]).all()
    assert "".join(sorted(alanine_dipeptide.elements)) == "C" * 6 + "H" * 12 + "N" * 2 + "O" * 2


def test_require_same_names_the_difference(alanine_dipeptide: Molecule) -> None:
    alanine_dipeptide.require_same(peptide(CAP_BEFORE, ALANINE, CAP_AFTER), "the checkpoint")
    with pytest.raises(MdgenError, match="has 32 atoms where 22"):
        alanine_dipeptide.require_same(peptide(CAP_BEFORE, ALANINE, ALANINE, CAP_AFTER), "the checkpoint")
    renamed = (ALANINE[0], ALANINE[1].replace("CB ", "CX "), ALANINE[2].replace("CB", "CX"))
    with pytest.raises(MdgenError, match=r"the checkpoint is another molecule: it has ALA2-CX .* for ALA2-CB"):
        alanine_dipeptide.require_same(peptide(CAP_BEFORE, renamed, CAP_AFTER), "the checkpoint")
    rebonded = (ALANINE[0], ALANINE[1], ALANINE[2].replace("CA-HA", "N-HA"))
    with pytest.raises(MdgenError, match=r"only one of the two has the bond of ALA2-N .* and ALA2-HA"):
        alanine_dipeptide.require_same(peptide(CAP_BEFORE, rebonded, CAP_AFTER), "the checkpoint")


def test_unknown_residue_without_bonds_is_named(tmp_path: Path) -> None:
    unknown = ("XYZ", *ALANINE[1:])
    path = written_pdb(peptide(CAP_BEFORE, unknown, CAP_AFTER), tmp_path / "unknown.pdb")
    path.write_text("".join(line for line in path.open() if not line.startswith("CONECT")))
    molecule = Molecule.from_file(path)
    with pytest.raises(MdgenError, match="residue XYZ2 is unknown or incomplete"):
        molecule.require_bonded()


@pytest.mark.parametrize("content", [None, b"", b"no atoms here\n", bytes(range(256)) * 8])
@pytest.mark.parametrize("suffix", ["pdb", "gro", "prmtop", "psf", "h5", "xyzzy"])
def test_unreadable_files_are_refused(tmp_path: Path, content: bytes | None, suffix: str) -> None:
    path = tmp_path / f"broken.{suffix}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MdgenError, match="broken") as caught:
        Molecule.from_file(path)
    assert len(str(caught.value).splitlines()) == 1


def test_acid_hydrogen_of_charmm_is_not_bonded_to_the_amine(tmp_path: Path) -> None:
    """CHARMM calls the acid hydrogen HT2, which mdtraj takes for an amine hydrogen."""
    acid = ("ALA", ALANINE[1] + " OXT HXT", ALANINE[2] + " C-OXT OXT-HXT")
    expected = peptide(CAP_BEFORE, ALANINE, acid)
    path = written_pdb(expected, tmp_path / "acid.pdb")
    lines = [line.replace(" OXT ", " OT2 ").replace(" HXT ", " HT2 ") for line in path.open()]
    path.write_text("".join(line for line in lines if not line.startswith("CONECT")))
    found = Molecule.from_file(path)
    expected.require_same(found, "what was read")
    labels = [found.atom_label(index) for index in found.neighbours[found.n_atoms - 1]]
    assert labels == ["ALA3-OXT (atom 26)"]


@pytest.mark.parametrize("first", ["A", "P", "G"])
def test_a_peptide_of_charged_ends_comes_back_from_a_pdb_file(tmp_path: Path, first: str) -> None:
    """Of a proline mdtraj's table of bonds lacks a hydrogen at the N terminus, and pdb files do not tell it."""
    system = build_system(sequence=first + "A", capped=False)
    assert Molecule.from_file(written_pdb(system.molecule, tmp_path / "peptide.pdb")) == system.molecule


def test_water_has_two_bonds_whatever_the_file_says() -> None:
    """Some programs list the strut between the hydrogens of rigid water as a third bond."""
    with_strut = peptide(("HOH", "O H1 H2", "O-H1 O-H2 H1-H2"))
    assert with_strut.bonds.tolist() == [[0, 1], [0, 2]]
    assert peptide(("H2", "H1 H2", "H1-H2")).bonds.tolist() == [[0, 1]]


def test_atoms_that_bonds_hold_together_are_one_molecule() -> None:
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for name, elements in (("NA", ["Na"]), ("HOH", ["O", "H", "H"]), ("HOH", ["O", "H", "H"])):
        residue = topology.add_residue(name, chain)
        atoms = [topology.add_atom(e, mdtraj.element.get_by_symbol(e), residue) for e in elements]
        for hydrogen in atoms[1:]:
            topology.add_bond(atoms[0], hydrogen)
    assert Molecule.from_mdtraj(topology).molecule_of_atom.tolist() == [0, 1, 1, 1, 2, 2, 2]
    assert set(peptide(CAP_BEFORE, ALANINE).molecule_of_atom.tolist()) == {0}
