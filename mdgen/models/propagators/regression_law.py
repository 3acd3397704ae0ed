"""What a propagator's mean step must obey: eigenfunctions decay as `E[psi_i(t + lag) | psi(t)] = lambda_i psi_i(t)`.

A learned latent is an eigenfunction in the mean only: within a well it may hold motions that die out sooner. What holds
of any latent `x`, exactly and over the same data, is the law tested against the latent itself and the constant,

    E[(1, x(t)) (m(x(t)) - b - K x(t))^T] = 0,    m(x) = E[x(t + lag) | x(t) = x],

with `b + K x` the linear regression of `x(t + lag)` on `x(t)`. Of slow modes `K` is the diagonal of the eigenvalues:
the law then says that no mode drifts and that each decays with its own timescale. A jump too many in a thousand steps
is nothing to a likelihood, but much to this.
"""

import math
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.interfaces import Context, MarkovPropagator
from mdgen.models.batches import PairBatch
from mdgen.models.blocks.spectrum import implied_timescales

LEAST_DECAY = 1e-3
"""Least share that a channel is taken to lose in a lag, by which violations are measured."""
SAMPLED = 50_000
"""Steps that are sampled to measure a propagator."""

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
        regression = torch.linalg.pinv(covariance, hermitian=True) @ lagged  # channels may depend on one another
        self.mean.copy_(origin)
        self.spread.copy_(covariance.diagonal().sqrt().clamp_min(1e-12))
        self.regression.copy_(regression)

    @property
    def decay(self) -> Float[Tensor, "channel"]:
        """The share of each channel that is gone after a lag."""
        return (1 - self.regression.diagonal()).clamp_min(LEAST_DECAY)

    def expected(self, latents: Frames) -> Frames:
        """The regression's mean of the latents a lag later; `mean` is taken to be that of both ends."""
        return self.mean + (latents - self.mean) @ self.regression

    def standard(self, residual: Frames) -> Frames:
        """A difference of latents in units of the spread and of what each channel loses in a lag."""
        return residual / self.spread / self.decay

    def violation(self, latents: Frames, means: Frames) -> Float[Tensor, "test channel"]:
        """Mean of `(1, x) (m(x) - b - K x)` in units of the spread, relative to what each channel loses in a lag.

        The first row is the drift of each channel; entry (1 + i, i) is the relative error of the rate at which channel
        i decays.

        Args:
            latents: latents of frames.
            means: the propagator's mean of each a lag later.
        """
        standard = (latents - self.mean) / self.spread
        residual = self.standard(means - self.expected(latents))
        tests = torch.cat([torch.ones_like(standard[:, :1]), standard], 1)
        return tests.T @ residual / len(latents)


@torch.no_grad()
def measured_law(propagator: MarkovPropagator, pairs: PairBatch, generator: torch.Generator) -> dict[str, Any]:
    """How far a propagator's steps, from frames of the data, violate the law, as plain JSON.

    `timescales_ps` are what the data imply, `model_timescales_ps` the same of one step of the propagator from frames of
    the data, `drift` is that of each channel in units of its spread and of what it loses in a lag. `along` holds, for
    each channel, ten equally populated bins: middle, mean of the step less the regression for the propagator, and for
    the data. What the data violate is the latent's fault, and not the propagator's: it is no eigenfunction there.

    Args:
        propagator: propagator whose `step` is sampled.
        pairs: pairs of latents one lag apart, tokens and channels in one axis; each counts in both directions.
        generator: random stream.
    """
    both = replace(pairs, context=Context()).both_directions()
    law = RegressionLaw(pairs.frames.shape[1]).to(pairs.frames.device)
    law.fit(both)
    if both.weights is None:  # torch.multinomial takes no more than 2^24 pairs
        rows = torch.randint(len(both), (SAMPLED,), generator=generator)
    else:
        rows = torch.multinomial(both.share(torch.float32), SAMPLED, replacement=True, generator=generator)
    now, later = both.frames[both.now[rows]], both.frames[both.later[rows]]
    made = propagator.step(now.unflatten(1, (propagator.latent.tokens, propagator.latent.channels)), generator).flatten(
        1
    )
    violation = law.violation(now, made)
    kept = law.regression.diagonal().double()
    lag_ps = propagator.frame_spacing_ps[0]
    one_step = kept + law.decay * violation[1:].diagonal().double()
    along = []
    for channel in range(now.shape[1]):
        bins = now[:, channel].argsort().tensor_split(10)
        residuals = [(law.standard(each - law.expected(now)))[:, channel] for each in (made, later)]
        along.append([[float(now[b, channel].mean()), *(float(each[b].mean()) for each in residuals)] for b in bins])
    return {
        "timescales_ps": _plain(implied_timescales(kept, lag_ps)),
        "model_timescales_ps": _plain(implied_timescales(one_step, lag_ps)),
        "drift": violation[0].tolist(),
        "along": along,
    }


def _plain(values: Float[Tensor, "channel"]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]
