"""Superposition undoes any rigid motion, never mirrors, and leaves mdtraj's deviation."""

import mdtraj
import numpy as np
import pytest
import torch

from mdgen.geometry.superposition import superpose


def rotations(count: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    quotient, _ = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator, dtype=dtype))
    return quotient * torch.linalg.det(quotient)[:, None, None]


def rmsd(positions: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    return (superpose(positions, reference) - reference).square().sum(-1).mean(-1).sqrt()


@pytest.fixture
def reference() -> torch.Tensor:
    return torch.randn(7, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_undoes_rigid_motions(reference: torch.Tensor, dtype: torch.dtype) -> None:
    reference = reference.to(dtype)
    moved = reference @ rotations(6, dtype) + torch.randn(6, 1, 3, generator=torch.Generator().manual_seed(2)).to(dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(superpose(moved, reference), reference.expand(6, 7, 3), atol=tolerance, rtol=0)
    # one weight of nothing: the atom follows the others
    weights = torch.ones(7, dtype=dtype)
    weights[2] = 0
    torch.testing.assert_close(superpose(moved, reference, weights), reference.expand(6, 7, 3), atol=tolerance, rtol=0)


def test_never_mirrors(reference: torch.Tensor) -> None:
    mirrored = reference * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
    fitted = superpose(mirrored, reference)
    assert rmsd(mirrored, reference) > 0.1
    volume = torch.linalg.det(fitted[1:4] - fitted[0])
    torch.testing.assert_close(volume, torch.linalg.det(mirrored[1:4] - mirrored[0]))


def test_planar_atoms_are_no_special_case(reference: torch.Tensor) -> None:
    flat = reference * torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    moved = flat @ rotations(5, torch.float64, seed=3)
    torch.testing.assert_close(superpose(moved, flat), flat.expand(5, 7, 3), atol=1e-12, rtol=0)


def test_deviation_agrees_with_mdtraj(reference: torch.Tensor) -> None:
    frames = torch.randn(9, 7, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    topology = mdtraj.Topology()
    residue = topology.add_residue("UNK", topology.add_chain())
    for index in range(7):
        topology.add_atom(f"C{index}", mdtraj.element.carbon, residue)
    expected = mdtraj.rmsd(
        mdtraj.Trajectory(frames.numpy().astype(np.float32), topology),
        mdtraj.Trajectory(reference.numpy().astype(np.float32), topology),
    )
    np.testing.assert_allclose(rmsd(frames, reference), expected, atol=1e-5)


def test_least_deviation_of_all_rotations(reference: torch.Tensor) -> None:
    mobile = torch.randn(7, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    weights = torch.arange(1.0, 8.0, dtype=torch.float64)

    def deviation(frames: torch.Tensor) -> torch.Tensor:
        return ((frames - reference).square().sum(-1) * weights).sum(-1)

    fitted = superpose(mobile, reference, weights)
    centre = (reference * weights[:, None]).sum(0) / weights.sum()
    nudged = (fitted - centre) @ torch.linalg.matrix_exp(
        0.05 * torch.tensor([[[0.0, a, b], [-a, 0, c], [-b, -c, 0]] for a, b, c in [(1, 0, 0), (0, 1, 0), (0, 0, 1)]])
    ).double() + centre
    assert (deviation(nudged) > deviation(fitted)).all()


def test_gradient_agrees_with_differences(reference: torch.Tensor) -> None:
    mobile = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: superpose(x, reference), mobile)
