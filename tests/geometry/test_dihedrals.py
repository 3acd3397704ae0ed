"""Laws of bonds, angles and dihedrals: agreement with mdtraj, invariance, finite gradients where angles are special."""

import mdtraj
import numpy as np
import pytest
import torch

from mdgen.geometry.dihedrals import bond_angles, bond_lengths, dihedral_angles


@pytest.fixture
def positions() -> torch.Tensor:
    return torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def trajectory(positions: torch.Tensor) -> mdtraj.Trajectory:
    topology = mdtraj.Topology()
    residue = topology.add_residue("UNK", topology.add_chain())
    for index in range(8):
        topology.add_atom(f"C{index}", mdtraj.element.carbon, residue)
    return mdtraj.Trajectory(positions.numpy().astype(np.float32), topology)


def test_agree_with_mdtraj(positions: torch.Tensor, trajectory: mdtraj.Trajectory) -> None:
    pairs, triples = np.array([[0, 1], [7, 3]]), np.array([[0, 1, 2], [6, 2, 7]])
    quads = np.array([[0, 1, 2, 3], [7, 1, 4, 0], [3, 2, 1, 0]])
    np.testing.assert_allclose(bond_lengths(positions, pairs), mdtraj.compute_distances(trajectory, pairs), atol=1e-6)
    np.testing.assert_allclose(bond_angles(positions, triples), mdtraj.compute_angles(trajectory, triples), atol=1e-5)
    np.testing.assert_allclose(
        dihedral_angles(positions, quads), mdtraj.compute_dihedrals(trajectory, quads), atol=1e-5
    )


def test_dihedral_of_mirror_image_changes_sign(positions: torch.Tensor) -> None:
    quads = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])
    mirrored = positions * torch.tensor([1.0, 1.0, -1.0])
    torch.testing.assert_close(dihedral_angles(mirrored, quads), -dihedral_angles(positions, quads))


@pytest.mark.parametrize("turn", [0.0, 1e-4, torch.pi / 2, torch.pi - 1e-3])
def test_dihedral_recovers_the_angle_turned(turn: float) -> None:
    last = [1.0, float(np.cos(turn)), -float(np.sin(turn))]
    chain = torch.tensor([[0.0, 1, 0], [0, 0, 0], [1, 0, 0], last], dtype=torch.float64)
    found = dihedral_angles(chain, torch.tensor([[0, 1, 2, 3]]))
    torch.testing.assert_close(found.abs(), torch.tensor([abs(turn)], dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "chain",
    [
        [[0.0, 1, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0]],  # cis
        [[0.0, 1, 0], [0, 0, 0], [1, 0, 0], [1, -1, 0]],  # trans
    ],
)
def test_gradients_are_finite_in_planar_groups(chain: list[list[float]], dtype: torch.dtype) -> None:
    positions = torch.tensor(chain, dtype=dtype, requires_grad=True)
    dihedral_angles(positions, torch.tensor([[0, 1, 2, 3]])).sum().backward()
    assert positions.grad is not None
    assert positions.grad.isfinite().all()
    assert positions.grad.abs().max() > 0.5


def test_angle_of_a_straight_line_has_a_finite_gradient() -> None:
    positions = torch.tensor([[-1.0, 0, 0], [0, 0, 0], [1, 0, 0]], requires_grad=True)
    angle = bond_angles(positions, torch.tensor([[0, 1, 2]]))
    angle.sum().backward()
    assert positions.grad is not None
    assert positions.grad.isfinite().all()
    assert angle.item() == pytest.approx(np.pi)


def test_gradients_agree_with_differences(positions: torch.Tensor) -> None:
    few = positions[0].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: dihedral_angles(x, torch.tensor([[0, 1, 2, 3]])), few)
    assert torch.autograd.gradcheck(lambda x: bond_angles(x, torch.tensor([[0, 1, 2]])), few)
