"""Features do not see rigid motions, do see mirror images, and can be rebuilt from plain data."""

import json

import numpy as np
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.molecule.features import TorsionDistanceFeatures
from mdgen.molecule.topology import Molecule

from .conftest import CAP_AFTER, peptide


def frames(molecule: Molecule, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(3, 4, molecule.n_atoms, 3, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize("distances", ["heavy", "alpha_carbon", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rigid_motions_change_nothing(ring_peptide: Molecule, distances: str, dtype: torch.dtype) -> None:
    features, positions = TorsionDistanceFeatures(ring_peptide, distances), frames(ring_peptide, dtype)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=dtype))
    rotation = rotation * torch.linalg.det(rotation)
    moved = positions @ rotation + torch.tensor([0.3, -2.0, 1.0], dtype=dtype)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    assert features(positions).shape == (3, 4, features.n_features)
    assert features(positions).dtype == dtype
    torch.testing.assert_close(features(moved), features(positions), atol=tolerance, rtol=0)


def test_mirror_images_differ(alanine_dipeptide: Molecule) -> None:
    features, positions = TorsionDistanceFeatures(alanine_dipeptide, "none"), frames(alanine_dipeptide)
    mirrored = features(positions * torch.tensor([1.0, 1.0, -1.0]))
    sign = torch.tensor([-1.0 if name.startswith("sin") else 1.0 for name in features.names])
    torch.testing.assert_close(mirrored, features(positions) * sign)


def test_names_say_what_each_feature_is(alanine_dipeptide: Molecule) -> None:
    features = TorsionDistanceFeatures(alanine_dipeptide)
    assert features.names[:4] == ("sin phi ALA2", "sin psi ALA2", "cos phi ALA2", "cos psi ALA2")
    positions = frames(alanine_dipeptide)
    one = features.names.index("ACE1-C (atom 4) - ALA2-C (atom 14)")
    distance = (positions[..., 4, :] - positions[..., 14, :]).norm(dim=-1)
    torch.testing.assert_close(features(positions)[..., one], distance)


def test_pairs_are_at_least_three_bonds_apart(ring_peptide: Molecule) -> None:
    steps = np.full((ring_peptide.n_atoms, ring_peptide.n_atoms), 99)
    np.fill_diagonal(steps, 0)
    for i, j in ring_peptide.bonds:
        steps[i, j] = steps[j, i] = 1
    for k in range(ring_peptide.n_atoms):
        steps = np.minimum(steps, steps[:, k : k + 1] + steps[k : k + 1, :])
    pairs = TorsionDistanceFeatures(ring_peptide)._pairs.numpy()
    heavy = [i for i, element in enumerate(ring_peptide.elements) if element != "H"]
    expected = {(i, j) for i in heavy for j in heavy if i < j and steps[i, j] >= 3}
    assert {tuple(pair) for pair in pairs.tolist()} == expected


def test_rebuilt_from_plain_data(ring_peptide: Molecule) -> None:
    features = TorsionDistanceFeatures(ring_peptide, "alpha_carbon", ["backbone", "omega"])
    saved = json.dumps([features.molecule.to_json(), features.distances, features.torsion_kinds])
    molecule, distances, kinds = json.loads(saved)
    again = TorsionDistanceFeatures(Molecule.from_json(molecule), distances, kinds)
    assert again.names == features.names
    assert not features.state_dict()
    positions = frames(ring_peptide)
    torch.testing.assert_close(again(positions), features(positions))


def test_differentiable(alanine_dipeptide: Molecule) -> None:
    features = TorsionDistanceFeatures(alanine_dipeptide)
    assert torch.autograd.gradcheck(features, frames(alanine_dipeptide)[0, :1].requires_grad_())


def test_mistakes_are_refused(alanine_dipeptide: Molecule) -> None:
    with pytest.raises(MdgenError, match="no distances 'all'; choose from heavy"):
        TorsionDistanceFeatures(alanine_dipeptide, "all")
    with pytest.raises(MdgenError, match="use heavy distances"):
        TorsionDistanceFeatures(peptide(CAP_AFTER), "alpha_carbon")
