"""Internal coordinates and positions say the same, up to a rigid motion, in both directions and both precisions."""

import numpy as np
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.geometry.internal_coordinates import ZMatrix
from mdgen.geometry.superposition import superpose


def chain(n_atoms: int) -> ZMatrix:
    rows = [[max(n - k, -1) for k in (3, 2, 1, 0)] for n in range(n_atoms)]
    return ZMatrix(np.array(rows), np.full(n_atoms - 3, -1))


def random_tree(n_atoms: int, seed: int) -> ZMatrix:
    """A tree in which several atoms hang on one bond, with its atoms in no order."""
    rng = np.random.default_rng(seed)
    name = rng.permutation(n_atoms)
    rows, relative, primary = [[-1, -1, -1, 0], [-1, -1, 0, 1], [-1, 0, 1, 2]], [], {}
    for atom in range(3, n_atoms):
        a, b, c = rows[int(rng.integers(2, atom))][1:]
        if (b, c) in primary:
            row, reference = primary[b, c]
            relative.append(row)
            rows.append([reference, b, c, atom])
        else:
            primary[b, c] = (atom, a)
            relative.append(-1)
            rows.append([a, b, c, atom])
    table = np.array([[-1 if index < 0 else name[index] for index in row] for row in rows])
    return ZMatrix(table, np.array(relative))


def positions(n_atoms: int, dtype: torch.dtype = torch.float64, batch: tuple[int, ...] = (2, 3)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*batch, n_atoms, 3, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-2)])
def test_positions_survive_the_round_trip(seed: int, dtype: torch.dtype, tolerance: float) -> None:
    matrix, before = random_tree(30, seed), positions(30, dtype)
    after = matrix.to_cartesian(*matrix.to_internal(before))
    assert after.dtype == dtype
    for one, other in zip(before.reshape(-1, 30, 3), after.reshape(-1, 30, 3), strict=True):
        # random positions hold nearly straight angles, which is as badly conditioned as it gets
        torch.testing.assert_close(superpose(other, one), one, atol=tolerance, rtol=0)


@pytest.mark.parametrize("seed", range(10))
def test_internal_coordinates_survive_the_round_trip(seed: int) -> None:
    matrix, generator = random_tree(30, seed), torch.Generator().manual_seed(seed)
    bonds = 0.1 + 0.1 * torch.rand(4, 29, generator=generator, dtype=torch.float64)
    angles = 0.3 + 2.5 * torch.rand(4, 28, generator=generator, dtype=torch.float64)
    turn = 2 * torch.pi * torch.rand(4, 27, generator=generator, dtype=torch.float64)
    dihedrals = torch.where(torch.as_tensor(matrix.is_primary), turn - torch.pi, turn)
    found = matrix.to_internal(matrix.to_cartesian(bonds, angles, dihedrals))
    for given, got in zip((bonds, angles, dihedrals), found, strict=True):
        torch.testing.assert_close(got, given, atol=1e-8, rtol=0)


def test_the_first_three_atoms_define_the_frame() -> None:
    matrix = chain(6)
    placed = matrix.to_cartesian(*matrix.to_internal(positions(6)))
    assert (placed[..., 0, :] == 0).all()
    assert (placed[..., 1, 1:] == 0).all()
    assert (placed[..., 2, 2] == 0).all()


def test_turning_a_primary_dihedral_turns_its_branch_as_one() -> None:
    # atoms 3 and 4 hang on the bond 1-2
    matrix = ZMatrix(
        np.array([[-1, -1, -1, 0], [-1, -1, 0, 1], [-1, 0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 4]]), np.array([-1, 3])
    )
    bonds, angles, dihedrals = matrix.to_internal(positions(5))
    turned = matrix.to_cartesian(bonds, angles, dihedrals + torch.tensor([1.0, 0.0]))
    before = matrix.to_cartesian(bonds, angles, dihedrals)
    torch.testing.assert_close(
        (turned[..., 3, :] - turned[..., 4, :]).norm(dim=-1), (before[..., 3, :] - before[..., 4, :]).norm(dim=-1)
    )
    assert (turned[..., 3, :] - before[..., 3, :]).norm(dim=-1).min() > 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_where_everything_is_planar(dtype: torch.dtype) -> None:
    """A flat zigzag has all dihedrals at pi; a flat ring has them at 0."""
    zigzag = torch.tensor([[0.1 * n, 0.05 * (n % 2), 0] for n in range(8)], dtype=dtype)
    turn = torch.arange(6) * (torch.pi / 3)
    ring = torch.stack([turn.cos(), turn.sin(), 0 * turn], dim=-1).to(dtype)
    for flat in (zigzag, ring):
        matrix, before = chain(len(flat)), flat.clone().requires_grad_()
        internal = matrix.to_internal(before)
        after = matrix.to_cartesian(*internal)
        (sum(part.sum() for part in internal) + after.square().sum()).backward()
        assert before.grad is not None
        assert before.grad.isfinite().all()
        assert before.grad.abs().max() > 0


def test_gradients_agree_with_differences() -> None:
    matrix, before = random_tree(8, 1), positions(8, batch=(2,)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: matrix.to_cartesian(*matrix.to_internal(x)), before, atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_gradients_by_internal_coordinates_are_those_of_a_walk_back(seed: int) -> None:
    matrix = random_tree(20, seed)
    internal = [each.requires_grad_() for each in matrix.to_internal(positions(20))]
    placed, by_position = matrix.to_cartesian(*internal), positions(20, batch=(2, 3, 1))
    expected = torch.autograd.grad(placed, internal, by_position[..., 0, :, :])
    for got, wanted in zip(matrix.gradient(placed.detach(), by_position), expected, strict=True):
        torch.testing.assert_close(got[..., 0, :], wanted, atol=1e-9, rtol=1e-9)


def test_a_gradient_refuses_references_that_are_neither_back_nor_beside() -> None:
    rows = np.array([[-1, -1, -1, 0], [-1, -1, 0, 1], [-1, 0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4], [0, 3, 4, 5]])
    matrix = ZMatrix(rows, np.full(3, -1))
    with pytest.raises(ValueError, match="row 5 refers to an atom that is neither two bonds back nor beside"):
        matrix.gradient(positions(6), positions(6)[:, :, None])


def test_mirror_images_differ_in_their_dihedrals_alone() -> None:
    matrix, before = chain(9), positions(9)
    bonds, angles, dihedrals = matrix.to_internal(before)
    mirrored = matrix.to_internal(before * torch.tensor([1.0, -1.0, 1.0]))
    torch.testing.assert_close(mirrored[0], bonds)
    torch.testing.assert_close(mirrored[1], angles)
    torch.testing.assert_close(mirrored[2], -dihedrals)


def test_steps_go_with_the_depth_of_the_tree() -> None:
    star = [[-1, -1, -1, 0], [-1, -1, 0, 1], [-1, 0, 1, 2]] + [[2, 0, 1, n] for n in range(3, 50)]
    assert len(ZMatrix(np.array(star), np.full(47, 2))._levels) == 1
    assert len(chain(50)._levels) == 47


def test_tables_that_make_no_sense_are_refused() -> None:
    rows = chain(5).rows
    with pytest.raises(MdgenError, match="at least three atoms; there are 2"):
        ZMatrix(rows[:2], np.empty(0, dtype=np.int64))
    with pytest.raises(ValueError, match="row 3 refers to atoms"):
        ZMatrix(rows[[0, 1, 2, 4, 3]], np.array([-1, -1]))
    with pytest.raises(ValueError, match="relative to row 4"):
        ZMatrix(rows, np.array([4, -1]))
