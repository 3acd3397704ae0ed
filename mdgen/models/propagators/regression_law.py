"""What a propagator's mean step must obey: eigenfunctions decay as `E[psi_i(t + lag) | psi(t)] = lambda_i psi_i(t)`.

A learned latent is an eigenfunction in the mean only: within a well it may hold motions that die out sooner. What holds
of any latent `x`, exactly and over the same data, is the law tested against the latent itself and the constant,

    E[(1, x(t)) (m(x(t)) - b - K x(t))^T] = 0,    m(x) = E[x(t + lag) | x(t) = x],

with `b + K x` the linear regression of `x(t + lag)` on `x(t)`. Of slow modes `K` is the diagonal of the eigenvalues:
the law then says that no mode drifts and that each decays with its own timescale. A jump too many in a thousand steps
is nothing to a likelihood, but much to this.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.models.batches import PairBatch

LEAST_DECAY = 1e-3
"""Least share that a channel is taken to lose in a lag, by which violations are measured."""

Frames = Float[Tensor, "frame channel"]


class RegressionLaw(nn.Module):
    """The linear regression of a latent on the one a lag before; knows nothing before `fit`."""

    mean: Tensor
    spread: Tensor
    regression: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))
        self.register_buffer("regression", torch.eye(channels))

    @torch.no_grad()
    def fit(self, pairs: PairBatch) -> None:
        """Take mean, spread and regression from pairs of latents."""
        frames, share = pairs.frames.double(), pairs.share(torch.float64)[:, None]
        now, later = frames[pairs.now], frames[pairs.later]
        origin, target = (share * now).sum(0), (share * later).sum(0)
        covariance = (now - origin).T @ (share * (now - origin))
        lagged = (now - origin).T @ (share * (later - target))
        regression = torch.linalg.solve(covariance, lagged)
        self.mean.copy_(origin)
        self.spread.copy_(covariance.diagonal().sqrt())
        self.regression.copy_(regression)

    @property
    def decay(self) -> Float[Tensor, "channel"]:
        """The share of each channel that is gone after a lag."""
        return (1 - self.regression.diagonal()).clamp_min(LEAST_DECAY)

    def expected(self, latents: Frames) -> Frames:
        """The regression's mean of the latents a lag later; `mean` is taken to be that of both ends."""
        return self.mean + (latents - self.mean) @ self.regression

    def violation(self, latents: Frames, means: Frames) -> Float[Tensor, "test channel"]:
        """Mean of `(1, x) (m(x) - b - K x)` in units of the spread, relative to what each channel loses in a lag.

        The first row is the drift of each channel; entry (1 + i, i) is the relative error of the rate at which channel
        i decays.

        Args:
            latents: latents of frames.
            means: the propagator's mean of each a lag later.
        """
        standard = (latents - self.mean) / self.spread
        residual = (means - self.expected(latents)) / self.spread / self.decay
        tests = torch.cat([torch.ones_like(standard[:, :1]), standard], 1)
        return tests.T @ residual / len(latents)
