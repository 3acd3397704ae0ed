"""Rotations as matrices and as unit quaternions (w, x, y, z), batched, with finite gradients everywhere."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_SMALLEST = 1e-12
"""Least squared norm of a quaternion that is divided by."""

_LEAST_GAP = 1e-6
"""Least sum of two singular values, relative to the largest, that the gradient of a rotation is divided by."""


def rotation_from_quaternion(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation matrix of a quaternion (w, x, y, z) of any length; that of zeros is the identity.

    >>> rotation_from_quaternion(torch.tensor([0.0, 0.0, 0.0, 2.0])).diagonal()
    tensor([-1., -1.,  1.])
    """
    w, x, y, z = quaternion.unbind(-1)
    scale = 2 / quaternion.square().sum(-1).clamp(min=_SMALLEST)
    sx, sy, sz = scale * x, scale * y, scale * z
    xx, xy, xz, yy, yz, zz = sx * x, sx * y, sx * z, sy * y, sy * z, sz * z
    wx, wy, wz = w * sx, w * sy, w * sz
    entries = [1 - yy - zz, xy - wz, xz + wy, xy + wz, 1 - xx - zz, yz - wx, xz - wy, yz + wx, 1 - xx - yy]
    return torch.stack(entries, -1).unflatten(-1, (3, 3))


def quaternion_from_rotation(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """The unit quaternion (w, x, y, z) of a rotation matrix, with non-negative real part.

    Of the four rows of 4 q q^T, which are linear in the matrix, the one of the largest component is normalised
    (Shepperd, J. Guid. Control 1, 223 (1978)): exact and differentiable for every angle, half a turn included.
    """
    a, b, c, d, e, f, g, h, i = rotation.flatten(-2).unbind(-1)
    rows = [1 + a + e + i, h - f, c - g, d - b, 1 + a - e - i, b + d, c + g, 1 - a + e - i, f + h, 1 - a - e + i]
    ww, wx, wy, wz, xx, xy, xz, yy, yz, zz = rows
    outer = torch.stack([ww, wx, wy, wz, wx, xx, xy, xz, wy, xy, yy, yz, wz, xz, yz, zz], -1).unflatten(-1, (4, 4))
    largest = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = outer.gather(-2, largest[..., None, None].expand(*largest.shape, 1, 4)).squeeze(-2)
    unit = row / torch.linalg.vector_norm(row, dim=-1, keepdim=True)
    return torch.where(unit[..., :1] < 0, -unit, unit)


def nearest_rotation(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The proper rotation R that is nearest in least squares: it maximises the trace of R^T M.

    Computed in double precision. Its gradient, unlike that of the singular vectors, is finite for equal singular
    values; where the rotation itself is not unique (collinear points) it is bounded. It has no second derivative.
    """
    return _NearestRotation.apply(matrix)


class _NearestRotation(torch.autograd.Function):
    """M = R P with P symmetric gives dR = R W, and R^T dM - dM^T R = W P + P W is solved in the basis of P."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        left, values, right = torch.linalg.svd(matrix.double())
        sign = torch.linalg.det(left @ right).sign()
        flip = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], -1)
        rotation = (left * flip[..., None, :]) @ right
        ctx.save_for_backward(rotation, values * flip, right)
        return rotation.to(matrix.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        rotation, values, right = ctx.saved_tensors
        (gradient,) = gradients
        turn = right @ rotation.mT @ gradient.double() @ right.mT
        sums = values[..., :, None] + values[..., None, :]
        least = (_LEAST_GAP * values[..., :1, None]).clamp(min=_SMALLEST)
        turn = (turn - turn.mT) / torch.where(sums < least, least, sums)
        return (rotation @ right.mT @ turn @ right).to(gradient.dtype)
