"""The reversible variational eigenproblem that SRV and TICA share: `C1 v = lambda C0 v`."""

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.models.batches import PairBatch


def whitened(
    values: Float[Tensor, "frame channel"], batch: PairBatch, relative_jitter: float
) -> tuple[Float[Tensor, "channel"], Float[Tensor, "channel channel"], Float[Tensor, "channel channel"]]:
    """Mean, Cholesky factor `L` of `C0`, and `L^-1 C1 L^-T`, whose eigenvalues are the autocorrelations.

    `C0 = (C00 + C11) / 2` and `C1 = (C01 + C10) / 2` of the batch's pairs, each read in both directions, centred and
    in double precision. `relative_jitter` times the mean of the diagonal of `C0` is added to it.

    Raises:
        MdgenError: if `C0` is singular in spite of the jitter, which means that an output does not vary.
    """
    values = values.double()
    share = batch.share(torch.float64)
    # How much of the pairs each frame takes part in: its row need then be multiplied once only.
    presence = torch.zeros(len(values), dtype=torch.float64, device=values.device)
    presence = presence.index_add(0, batch.now, share / 2).index_add(0, batch.later, share / 2)
    mean = presence @ values
    centred = values - mean
    instantaneous = centred.T @ (presence[:, None] * centred)
    forward = centred[batch.now].T @ (share[:, None] * centred[batch.later])
    lagged = (forward + forward.T) / 2
    scale = instantaneous.diagonal().mean()
    identity = torch.eye(len(mean), dtype=torch.float64, device=scale.device)
    factor, failed = torch.linalg.cholesky_ex(instantaneous + relative_jitter * scale * identity)
    # What is left of an output that does not vary is rounding, of the order of 1e-14 of its square.
    constant = scale <= 1e-13 * mean.square().mean()
    if bool(failed) or bool(constant) or not bool(torch.isfinite(factor).all()):
        raise MdgenError(
            "the covariance of the slow modes is singular or not finite: an output does not vary over the frames or "
            "the training diverged; lower the learning rate, give larger batches, or ask for fewer modes"
        )
    left = torch.linalg.solve_triangular(factor, lagged, upper=False)
    symmetric = torch.linalg.solve_triangular(factor, left.T, upper=False)
    return mean, factor, (symmetric + symmetric.T) / 2


def slow_modes(
    values: Float[Tensor, "frame channel"], batch: PairBatch, n_modes: int, relative_jitter: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, projection and eigenvalues of the slowest modes: `(values - mean) @ projection` has unit variance.

    Modes are ordered slowest first; the sign of each makes its third moment positive, so that a second fit to the same
    data gives the same modes.
    """
    mean, factor, symmetric = whitened(values, batch, relative_jitter)
    eigenvalues, vectors = torch.linalg.eigh(symmetric)
    order = torch.argsort(eigenvalues, descending=True)[:n_modes]
    projection = torch.linalg.solve_triangular(factor.T, vectors[:, order], upper=True)
    modes = (values.double() - mean) @ projection
    sign = torch.where((modes**3).mean(0) < 0, -1.0, 1.0)
    return mean, projection * sign, eigenvalues[order]


def implied_timescales(eigenvalues: Float[Tensor, "*batch channel"], lag_ps: float) -> Float[Tensor, "*batch channel"]:
    """`-lag / ln(lambda)` in ps, NaN where no decay is implied.

    >>> implied_timescales(torch.tensor([0.5, -0.1]), 2.0)
    tensor([2.8854,    nan])
    """
    valid = (eigenvalues > 0) & (eigenvalues < 1)
    return torch.where(valid, -lag_ps / torch.log(torch.where(valid, eigenvalues, 0.5)), torch.nan)
