"""The matrix of a molecule covers it along its bonds, with one primary dihedral a bond, named where it has a name."""

import numpy as np
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.geometry.superposition import superpose
from mdgen.molecule.topology import Molecule
from mdgen.molecule.torsions import torsions
from mdgen.molecule.zmatrix import build_zmatrix

from .conftest import ALANINE, CAP_AFTER, peptide

MOLECULES = ["alanine_dipeptide", "ring_peptide", "cyclic_peptide"]


@pytest.fixture(params=MOLECULES)
def molecule(request: pytest.FixtureRequest) -> Molecule:
    return request.getfixturevalue(request.param)


def test_every_length_but_ring_closures_is_a_bond(molecule: Molecule) -> None:
    bonds = {tuple(pair) for pair in molecule.bonds.tolist()}
    lengths = {tuple(sorted(pair)) for pair in build_zmatrix(molecule).bond_atoms.tolist()}
    assert lengths <= bonds
    assert len(lengths) == molecule.n_atoms - 1


def test_one_primary_dihedral_for_each_bond_that_has_two_sides(molecule: Molecule) -> None:
    matrix = build_zmatrix(molecule)
    primary = matrix.dihedral_atoms[matrix.is_primary]
    axes = [tuple(sorted(pair)) for pair in primary[:, 1:3].tolist()]
    assert len(set(axes)) == len(axes)
    degree = [len(near) for near in molecule.neighbours]
    tree = {tuple(sorted(pair)) for pair in matrix.bond_atoms.tolist()}
    in_tree = np.zeros(molecule.n_atoms, dtype=int)
    for pair in tree:
        in_tree[list(pair)] += 1
    assert {pair for pair in tree if in_tree[pair[0]] > 1 and in_tree[pair[1]] > 1} == set(axes)
    assert max(degree) <= 4


@pytest.mark.parametrize("name", ["alanine_dipeptide", "ring_peptide"])
def test_named_torsions_are_the_primary_dihedrals(name: str, request: pytest.FixtureRequest) -> None:
    """In a closed chain a torsion across the bond that is left out cannot be one."""
    molecule = request.getfixturevalue(name)
    matrix = build_zmatrix(molecule)
    primary = {tuple(quad) for quad in matrix.dihedral_atoms[matrix.is_primary].tolist()}
    for torsion in torsions(molecule, ("backbone", "omega", "side_chain", "methyl")):
        assert torsion.atoms in primary or torsion.atoms[::-1] in primary, torsion.name


def test_positions_survive_the_round_trip(molecule: Molecule) -> None:
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(5, molecule.n_atoms, 3, generator=generator, dtype=torch.float64)
    matrix = build_zmatrix(molecule)
    after = matrix.to_cartesian(*matrix.to_internal(before))
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(superpose(other, one), one, atol=1e-9, rtol=0)


def test_gradients_are_those_of_a_walk_back(molecule: Molecule) -> None:
    """Sums over what lies beyond each atom, also where dihedrals refer to an atom beside."""
    generator = torch.Generator().manual_seed(0)
    matrix = build_zmatrix(molecule)
    drawn = torch.randn(3, molecule.n_atoms, 3, generator=generator, dtype=torch.float64)
    internal = [each.requires_grad_() for each in matrix.to_internal(drawn)]
    positions = matrix.to_cartesian(*internal)
    by_position = torch.randn(3, 2, *positions.shape[1:], generator=generator, dtype=torch.float64)
    found = matrix.gradient(positions.detach(), by_position)
    for function in range(2):
        expected = torch.autograd.grad(positions, internal, by_position[:, function], retain_graph=True)
        for got, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(got[:, function], wanted, atol=1e-9, rtol=1e-9)


def test_dihedrals_refer_to_atoms_beside_where_torsions_are_named_so(alanine_dipeptide: Molecule) -> None:
    assert len(build_zmatrix(alanine_dipeptide)._tree.couplings) > 0  # else the test above would not see them


def test_the_tree_is_shallow(molecule: Molecule) -> None:
    assert len(build_zmatrix(molecule)._levels) <= molecule.n_atoms // 3


def test_what_is_no_molecule_is_refused() -> None:
    two = peptide(ALANINE, CAP_AFTER).topology
    with pytest.raises(MdgenError, match="not one bonded molecule"):
        build_zmatrix(Molecule.from_mdtraj(two.join(two.copy())))
    with pytest.raises(MdgenError, match="at least three atoms"):
        build_zmatrix(peptide(("CO", "C O", "C-O")))
