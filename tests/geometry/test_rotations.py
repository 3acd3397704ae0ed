"""Rotations both ways, the nearest rotation, and finite gradients at every angle."""

import pytest
import torch

from mdgen.geometry.rotations import nearest_rotation, quaternion_from_rotation, rotation_from_quaternion

DTYPES = [torch.float32, torch.float64]


def quaternions(n, seed=0, dtype=torch.float64):
    drawn = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return drawn / drawn.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_quaternions_and_matrices_are_inverse_to_each_other(dtype):
    given = quaternions(500, dtype=dtype)
    given = torch.cat([given, torch.eye(4, dtype=dtype)])  # identity, and half a turn about each axis
    matrices = rotation_from_quaternion(given)
    torch.testing.assert_close(matrices @ matrices.mT, torch.eye(3, dtype=dtype).expand_as(matrices))
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones_like(given[:, 0]))
    back = quaternion_from_rotation(matrices)
    assert (back[:, 0] >= 0).all()
    torch.testing.assert_close((back * given).sum(-1).abs(), torch.ones_like(given[:, 0]))


def test_length_and_sign_of_a_quaternion_do_not_matter_and_zeros_turn_nothing():
    given = quaternions(20)
    torch.testing.assert_close(rotation_from_quaternion(-3 * given), rotation_from_quaternion(given))
    assert torch.equal(rotation_from_quaternion(torch.zeros(4)), torch.eye(3))


@pytest.mark.parametrize("quaternion", torch.eye(4).double())
def test_gradients_are_right_at_the_identity_and_at_half_a_turn(quaternion):
    matrix = rotation_from_quaternion(quaternion).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: quaternion_from_rotation(m)[..., 1:].abs(), matrix + 0.01)
    quaternion_from_rotation(matrix).sum().backward()
    assert torch.isfinite(matrix.grad).all()
    assert torch.autograd.gradcheck(rotation_from_quaternion, (quaternion + 0.1).requires_grad_())


def test_the_nearest_rotation_beats_every_other():
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(50, 3, 3, generator=generator, dtype=torch.float64)  # half of them nearest to a reflection
    nearest = nearest_rotation(matrices)
    torch.testing.assert_close(torch.linalg.det(nearest), torch.ones(50, dtype=torch.float64))
    others = rotation_from_quaternion(quaternions(1000))
    overlap = (nearest * matrices).sum((-1, -2))
    assert (overlap >= torch.einsum("nij,kij->kn", others, matrices).amax(1) - 1e-9).all()


def test_gradients_of_the_nearest_rotation_hold_for_equal_singular_values():
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(5, 3, 3, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(nearest_rotation, drawn.requires_grad_())
    equal = rotation_from_quaternion(quaternions(3)).requires_grad_()
    assert torch.autograd.gradcheck(nearest_rotation, equal)
