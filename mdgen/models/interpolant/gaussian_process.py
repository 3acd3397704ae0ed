"""The Gaussian process of latents that a flow starts from: stationary and Markov in time, bound to what is known.

White noise leaves all of a trajectory's time correlation to the network. This noise has the correlation of the data
from each frame to the next, so a Gaussian process with that correlation needs no network at all
(`Path.gaussian_velocity`). Beside a known frame it starts where the trajectory is expected.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

N_SPACINGS = 16
"""Frame spacings, evenly spread on a logarithmic scale, whose correlations from frame to frame are kept."""

MOST_PERSISTENT = 0.99
"""Largest correlation from frame to frame of the noise: a channel that hardly moves still gets some of its own."""

_LEAST = 1e-6
"""Least variance between two known frames that is divided by."""

_STILL = 1e-4
"""Spread below which a channel does not vary: it is not scaled."""

Latent = Float[Tensor, "batch frame token channel"]


class GaussianProcess(nn.Module):
    """Mean, spread and time correlation of the latents of each kind of token: of each residue type, or each token.

    The methyl groups of two residues are one channel, and one of them may turn thirty times as fast as the other.

    Args:
        kinds: number of kinds.
        channels: channels of a token.
    """

    mean: Float[Tensor, "kind channel"]
    spread: Float[Tensor, "kind channel"]
    persistence: Float[Tensor, "spacing kind channel"]
    """Correlation of the noise from one frame to the next, at each of `N_SPACINGS` frame spacings."""

    def __init__(self, kinds: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(kinds, channels))
        self.register_buffer("spread", torch.ones(kinds, channels))
        self.register_buffer("persistence", torch.zeros(N_SPACINGS, kinds, channels))

    def fit(
        self,
        latents: Latent,
        exists: Bool[Tensor, "batch frame token channel"],
        kinds: Int[Tensor, "batch token"],
        places: Float[Tensor, "batch"],
        correlation: Callable[[Latent], Float[Tensor, "channel"]],
    ) -> None:
        """Measure windows; a kind that they do not have gets what all have together.

        Args:
            latents: windows.
            exists: which channels exist.
            kinds: kind of each token.
            places: place of each window's frame spacing in the range of the training, from 0 to 1 on a logarithmic
                scale.
            correlation: correlation from frame to frame that noise should have, from standardised windows.
        """
        rows, real = (each.transpose(1, 2).flatten(0, 1) for each in (latents, exists))  # (window and token, frame)
        kind_of, place_of = kinds.flatten(), places.repeat_interleave(kinds.shape[1])
        some = real.flatten(1).any(1)
        rows, real, kind_of, place_of = rows[some], real[some], kind_of[some], place_of[some]
        self.mean[:], self.spread[:] = _moments(rows, real)
        self.persistence[:] = _table(self._standardised(rows, real, kind_of), place_of, correlation)[:, None]
        for kind in kind_of.unique().tolist():
            own = kind_of == kind
            self.mean[kind], self.spread[kind] = _moments(rows[own], real[own])
            standard = self._standardised(rows[own], real[own], kind_of[own])
            self.persistence[:, kind] = _table(standard, place_of[own], correlation)

    def standardised(self, latent: Latent, kinds: Int[Tensor, "row token"]) -> Latent:
        """Latents less their mean, over their spread."""
        return (latent - self.mean[kinds][:, None]) / self.spread[kinds][:, None]

    def restored(self, standard: Latent, kinds: Int[Tensor, "row token"]) -> Latent:
        """The inverse of `standardised`."""
        return standard * self.spread[kinds][:, None] + self.mean[kinds][:, None]

    def draw(
        self,
        white: Latent,
        standard: Latent,
        known: Bool[Tensor, "batch frame token channel"],
        kinds: Int[Tensor, "row token"],
        places: Float[Tensor, "batch"],
    ) -> tuple[Latent, Latent]:
        """Noise to start from, and what is expected of each latent, given those that are known.

        Args:
            white: standard normal noise.
            standard: standardised latents; only those that are known count.
            known: which are.
            kinds: kind of each token.
            places: place of each row's frame spacing, as for `fit`.
        """
        place = places * (N_SPACINGS - 1)
        low = place.long().clamp(0, N_SPACINGS - 2)
        tables = self.persistence[low], self.persistence[low + 1]  # (batch, kind, channel)
        persistence = torch.lerp(*tables, (place - low)[:, None, None])
        persistence = persistence[torch.arange(len(white), device=white.device)[:, None], kinds]
        return bound_noise(white, persistence.to(white), standard, known)

    def _standardised(self, rows: Tensor, real: Tensor, kinds: Int[Tensor, "row"]) -> Latent:
        """Rows of one token each, zero where they do not exist."""
        return self.standardised(rows[:, :, None], kinds[:, None]) * real[:, :, None]


def _moments(rows: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of each channel over rows and frames; zero and one where it does not exist or vary."""
    n = real.sum((0, 1)).clamp_min(1)
    mean = (rows * real).sum((0, 1)) / n
    spread = (((rows - mean) * real).square().sum((0, 1)) / n).sqrt()
    return mean, torch.where(spread > _STILL, spread, 1.0)


def _table(
    standard: Latent, places: Float[Tensor, "row"], correlation: Callable[[Latent], Float[Tensor, "channel"]]
) -> Float[Tensor, "spacing channel"]:
    """Correlations at `N_SPACINGS` places, linear between those measured."""
    measured = places.unique()
    table = torch.stack([correlation(standard[places == place]) for place in measured]).clamp(0.0, MOST_PERSISTENT)
    grid, at = np.linspace(0.0, 1.0, N_SPACINGS), measured.double().numpy()
    columns = [np.interp(grid, at, column) for column in table.double().numpy().T]
    return torch.as_tensor(np.stack(columns, 1))


def bound_noise(
    white: Latent,
    persistence: Float[Tensor, "batch token channel"],
    values: Latent,
    known: Bool[Tensor, "batch frame token channel"],
) -> tuple[Latent, Latent]:
    """A draw of the process given its known values, and its expectation; both are `values` where these are known.

    Args:
        white: standard normal noise.
        persistence: correlation of each channel from one frame to the next, from 0 to below 1.
        values: standardised latents; only those that are known count.
        known: which are.
    """
    rho = persistence[:, None]
    free = white[:, :1]
    frames = [free[:, 0]]
    step = (1 - rho.square()).sqrt()[:, 0]
    for frame in white[:, 1:].unbind(1):
        frames.append(torch.addcmul(step * frame, rho[:, 0], frames[-1]))
    free = torch.stack(frames, 1)
    # Of a Markov process only the nearest known frame on each side counts.
    n_frames = white.shape[1]
    place = torch.arange(n_frames, device=white.device)[:, None, None]
    left = torch.where(known, place, -1).cummax(1).values
    right = torch.where(known, place, n_frames).flip(1).cummin(1).values.flip(1)
    before = torch.where(left >= 0, rho ** (place - left), 0.0)
    after = torch.where(right < n_frames, rho ** (right - place), 0.0)
    span = (1 - (before * after).square()).clamp_min(_LEAST)
    weights = before * (1 - after.square()) / span, after * (1 - before.square()) / span
    ends = left.clamp_min(0), right.clamp_max(n_frames - 1)
    mean = sum(weight * values.gather(1, end) for weight, end in zip(weights, ends, strict=True))
    drift = sum(weight * free.gather(1, end) for weight, end in zip(weights, ends, strict=True))
    return torch.where(known, values, free + mean - drift), torch.where(known, values, mean)
