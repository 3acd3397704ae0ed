"""Least-squares superposition by a proper rotation.

Kabsch, Acta Cryst. A 34, 827 (1978): with H = sum_i w_i m_i r_i^T of the centred coordinates and H = U S V^T, the best
rotation is V diag(1, 1, det(V U^T)) U^T. The determinant excludes reflections.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def superpose(
    mobile: Float[Tensor, "*batch atom 3"],
    reference: Float[Tensor, "*#batch atom 3"],
    weights: Float[Tensor, "atom"] | None = None,
) -> Float[Tensor, "*batch atom 3"]:
    """Superpose each frame of `mobile` on `reference`, or on its own, with the least (weighted) squared deviation.

    The rotation is proper (det = +1), computed in double precision, and differentiable unless the atoms are
    collinear.
    """
    weights = reference.new_ones(reference.shape[-2]) if weights is None else weights
    shares = (weights / weights.sum()).to(reference)[:, None]
    centre = (reference * shares).sum(-2, keepdim=True)
    centred = mobile - (mobile * shares).sum(-2, keepdim=True)
    covariance = (centred * shares).double().transpose(-1, -2) @ (reference - centre).double()
    left, _, right = torch.linalg.svd(covariance)
    sign = torch.linalg.det(left @ right).sign()
    flip = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], dim=-1)
    # the transpose of the rotation, since positions are rows
    turn = ((left * flip[..., None, :]) @ right).to(mobile.dtype)
    return centred @ turn + centre
