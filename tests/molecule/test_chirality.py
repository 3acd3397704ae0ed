"""Stereocentres are those of the textbook, and a mirror image changes every sign."""

import torch

from mdgen.molecule.chirality import handedness, stereocentres
from mdgen.molecule.topology import Molecule

from .conftest import ALANINE, CAP_AFTER, CAP_BEFORE, peptide

GLYCINE = ("GLY", "N H CA HA2 HA3 C O", "N-H N-CA CA-HA2 CA-HA3 CA-C C-O")


def names(molecule: Molecule) -> list[str]:
    return [centre.name for centre in stereocentres(molecule)]


def test_centres_of_the_amino_acids(alanine_dipeptide: Molecule, ring_peptide: Molecule) -> None:
    assert names(alanine_dipeptide) == ["CA ALA2"]
    assert names(ring_peptide) == ["CA TRP2", "CA ILE3", "CB ILE3"]
    assert names(peptide(CAP_BEFORE, GLYCINE, CAP_AFTER)) == []


def test_a_closed_chain_has_its_centres(cyclic_peptide: Molecule) -> None:
    assert names(cyclic_peptide) == ["CA ALA1", "CA ILE2", "CB ILE2", "CA ALA3", "CA ALA4"]


def test_sign_is_the_mirror_image(ring_peptide: Molecule) -> None:
    centres = stereocentres(ring_peptide)
    positions = torch.randn(6, ring_peptide.n_atoms, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    rotation = rotation * torch.linalg.det(rotation)
    volumes = handedness(positions, centres)
    assert volumes.shape == (6, 3)
    torch.testing.assert_close(handedness(-positions, centres), -volumes)
    torch.testing.assert_close(handedness(positions @ rotation + 1, centres), volumes)


def test_l_amino_acids_are_all_of_one_sign() -> None:
    """N, CB, C and HA of an L amino acid, seen with HA towards the eye, read CO, R, N clockwise."""
    molecule = peptide(CAP_BEFORE, ALANINE, CAP_AFTER)
    (centre,) = stereocentres(molecule)
    assert [molecule.topology.atom(i).name for i in centre.neighbours] == ["N", "CB", "C", "HA"]
    positions = torch.zeros(molecule.n_atoms, 3, dtype=torch.float64)
    # the eye is at +z, as is HA; CO, R (CB) and N follow each other clockwise
    for name, place in {
        "C": [0.0, 1, -0.3],
        "CB": [0.87, -0.5, -0.3],
        "N": [-0.87, -0.5, -0.3],
        "HA": [0, 0, 1],
    }.items():
        atom = next(a.index for a in molecule.topology.residue(1).atoms if a.name == name)
        positions[atom] = torch.tensor(place, dtype=torch.float64)
    assert handedness(positions, [centre]).item() < 0
