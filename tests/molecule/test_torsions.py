"""Torsions agree with mdtraj's own search, and their names can be told apart."""

import mdtraj
import numpy as np
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.geometry.dihedrals import dihedral_angles
from mdgen.molecule.topology import Molecule
from mdgen.molecule.torsions import torsion_atoms, torsions

from .conftest import ALANINE, peptide

COMPUTE = {
    "phi": mdtraj.compute_phi,
    "psi": mdtraj.compute_psi,
    "chi1": mdtraj.compute_chi1,
    "chi2": mdtraj.compute_chi2,
    "chi3": mdtraj.compute_chi3,
}


@pytest.mark.parametrize("symbol", COMPUTE)
def test_agree_with_mdtraj(ring_peptide: Molecule, symbol: str) -> None:
    positions = np.random.default_rng(1).normal(size=(4, ring_peptide.n_atoms, 3)).astype(np.float32)
    atoms, angles = COMPUTE[symbol](mdtraj.Trajectory(positions, ring_peptide.topology))
    found = [torsion for torsion in torsions(ring_peptide) if torsion.name.startswith(symbol + " ")]
    assert sorted(torsion.atoms for torsion in found) == sorted(tuple(row) for row in atoms.tolist())
    mine = dihedral_angles(torch.from_numpy(positions), torsion_atoms(found)).numpy()
    order = [atoms.tolist().index(list(torsion.atoms)) for torsion in found]
    np.testing.assert_allclose(mine, angles[:, order], atol=2e-5)


def test_names_of_alanine_dipeptide(alanine_dipeptide: Molecule) -> None:
    names = [t.name for t in torsions(alanine_dipeptide, ("backbone", "omega", "side_chain", "methyl"))]
    assert names == [
        "omega ACE1",
        "methyl CH3 ACE1",
        "phi ALA2",
        "psi ALA2",
        "omega ALA2",
        "methyl CB ALA2",
        "methyl C NME3",
    ]


def test_caps_take_part_in_omega(alanine_dipeptide: Molecule) -> None:
    named = [
        [alanine_dipeptide.topology.atom(i).name for i in torsion.atoms]
        for torsion in torsions(alanine_dipeptide, ["omega"])
    ]
    assert named == [["CH3", "C", "N", "CA"], ["CA", "C", "N", "C"]]


def test_cyclic_chain_has_every_torsion(cyclic_peptide: Molecule) -> None:
    symbols = [torsion.name.split()[0] for torsion in torsions(cyclic_peptide, ("backbone", "omega"))]
    assert symbols.count("phi") == symbols.count("psi") == symbols.count("omega") == 4


def test_every_torsion_runs_along_bonds(ring_peptide: Molecule) -> None:
    bonds = {tuple(pair) for pair in ring_peptide.bonds.tolist()}
    for torsion in torsions(ring_peptide, ("backbone", "omega", "side_chain", "methyl")):
        for pair in zip(torsion.atoms, torsion.atoms[1:], strict=False):
            assert tuple(sorted(pair)) in bonds, torsion.name


def test_names_are_unique_across_chains() -> None:
    one = peptide(ALANINE, ALANINE).topology
    both = one.join(one.copy())
    names = [torsion.name for torsion in torsions(Molecule.from_mdtraj(both), ("backbone", "methyl"))]
    assert len(set(names)) == len(names) == 8


def test_unknown_kind_is_refused(alanine_dipeptide: Molecule) -> None:
    with pytest.raises(MdgenError, match="'chi'; choose from backbone, omega"):
        torsions(alanine_dipeptide, ("chi",))
