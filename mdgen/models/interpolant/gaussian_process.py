"""The Gaussian process of latents that a flow starts from: stationary, of two timescales, bound to what is known.

White noise leaves all of a trajectory's time correlation to the network. This noise is the Gaussian process that has
the correlation of the data once it is turned into their distribution; data that are Gaussian need no network at all
(`Path.gaussian_velocity`). Beside a known frame it starts where that process is expected.

One correlation from frame to frame would not do: a torsion librates within its well in a picosecond and leaves it after
hundreds, and all frames of a window that is measured against its first one have that one's place in common. So each
channel is the sum of a slow and a fast Markov process, of which only the sum is seen.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

N_SPACINGS = 16
"""Frame spacings, evenly spread on a logarithmic scale, whose kernels are kept."""

MOST_PERSISTENT = 0.99
"""Largest correlation from frame to frame of either part: a channel that hardly moves still gets noise of its own."""

MOST_LAGS = 12
"""Lags, evenly spread on a logarithmic scale up to half a window, at which correlations are measured."""

_LEAST = 1e-6
"""Least variance, or sum of squares, that is divided by."""

_ONE_PART = 1e-4
"""Square error for which a kernel of one part is preferred to one of two."""

_STILL = 1e-4
"""Spread below which a channel does not vary: it is not scaled."""

_ORDERS = 24
"""Hermite polynomials that a channel is taken apart into."""

Latent = Float[Tensor, "batch frame token channel"]


class Kernel(NamedTuple):
    """Correlation of a process of variance one, `share * slow ** lag + (1 - share) * fast ** lag`, lags in frames.

    Args:
        share: share of the slow part in the variance.
        slow: correlation of the slow part from one frame to the next.
        fast: that of the fast part.
    """

    share: Tensor
    slow: Tensor
    fast: Tensor


class GaussianProcess(nn.Module):
    """Mean, spread and time correlation of the latents of each kind of token; a kind is a residue type, or a place.

    The methyl groups of two residues are one channel, and one of them may turn thirty times as fast as the other.

    Args:
        kinds: number of kinds.
        channels: channels of a token.
    """

    mean: Float[Tensor, "kind channel"]
    spread: Float[Tensor, "kind channel"]
    kernels: Float[Tensor, "3 spacing kind channel"]
    """`Kernel` at each of `N_SPACINGS` frame spacings."""

    def __init__(self, kinds: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(kinds, channels))
        self.register_buffer("spread", torch.ones(kinds, channels))
        self.register_buffer("kernels", torch.zeros(3, N_SPACINGS, kinds, channels))

    def fit(
        self,
        latents: Latent,
        exists: Bool[Tensor, "batch frame token channel"],
        kinds: Int[Tensor, "batch token"],
        places: Float[Tensor, "batch"],
    ) -> None:
        """Measure windows, on a processor; a kind that they do not have gets what all have together.

        Args:
            latents: windows.
            exists: which channels exist.
            kinds: kind of each token.
            places: place of each window's frame spacing in the range of the training, from 0 to 1 on a logarithmic
                scale.
        """
        rows, real = (each.transpose(1, 2).flatten(0, 1) for each in (latents, exists))  # (window and token, frame)
        kind_of, place_of = kinds.flatten(), places.repeat_interleave(kinds.shape[1])
        some = real.flatten(1).any(1)
        rows, real, kind_of, place_of = rows[some], real[some], kind_of[some], place_of[some]
        self.mean[:], self.spread[:] = _moments(rows, real)
        self.kernels[:] = _table(self._standardised(rows, kind_of), real, place_of)[:, :, None]
        for kind in kind_of.unique().tolist():
            own = kind_of == kind
            self.mean[kind], self.spread[kind] = _moments(rows[own], real[own])
            standard = self._standardised(rows[own], kind_of[own])
            self.kernels[:, :, kind] = _table(standard, real[own], place_of[own])

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
        tables = self.kernels[:, low], self.kernels[:, low + 1]  # (3, batch, kind, channel)
        kernels = torch.lerp(*tables, (place - low)[:, None, None]).to(white)
        kernel = Kernel(*kernels[:, torch.arange(len(white), device=white.device)[:, None], kinds])
        return bound_noise(white, kernel, standard, known)

    def _standardised(self, rows: Tensor, kinds: Int[Tensor, "row"]) -> Latent:
        """Rows of one token each."""
        return self.standardised(rows[:, :, None], kinds[:, None])


def _moments(rows: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of each channel over rows and frames; zero and one where it does not exist or vary."""
    n = real.sum((0, 1)).clamp_min(1)
    mean = (rows * real).sum((0, 1)) / n
    spread = (((rows - mean) * real).square().sum((0, 1)) / n).sqrt()
    return mean, torch.where(spread > _STILL, spread, 1.0)


def lags_of(n_frames: int) -> list[int]:
    """Lags at which the correlations of windows of so many frames are measured."""
    return np.unique(np.geomspace(1, max(1, (n_frames - 1) // 2), MOST_LAGS).round().astype(int)).tolist()


def autocorrelations(standard: Latent, exists: Bool[Tensor, "..."] | None = None) -> Float[Tensor, "lag channel"]:
    """Correlation of each channel, of mean zero, at `lags_of` its windows; zero where it does not exist."""
    standard = standard if exists is None else standard * exists
    n_frames, found = standard.shape[1], []
    for lag in lags_of(n_frames):
        before, after = standard[:, :-lag], standard[:, lag:]
        power = (before.square() + after.square()).sum((0, 1, 2)) / 2
        found.append((before * after).sum((0, 1, 2)) / power.clamp_min(_LEAST))
    return torch.stack(found)


def gaussian_correlations(standard: Latent, exists: Bool[Tensor, "..."] | None = None) -> Float[Tensor, "lag channel"]:
    """Correlations of a Gaussian process that, turned into the data's distribution, has those of the data.

    A channel of wells is a Gaussian one cut into states: `g(z)`, where g takes normal quantiles to those of the data.
    With the coefficients c of g in normalised Hermite polynomials, a correlation r of z becomes `sum c_n^2 r^n` of the
    data's variance. Of two equal wells `2 asin(r) / pi`; a rare one needs a far higher r.

    Source: Grigoriu, Applied Non-Gaussian Processes (1995): translation processes.
    """
    z = torch.linspace(-4.5, 4.5, 901, dtype=torch.double)
    density = (-z.square() / 2).exp()
    density /= density.sum()
    ranks = density.cumsum(0) - density / 2
    exists = torch.ones_like(standard, dtype=torch.bool) if exists is None else exists
    sample = torch.where(exists, standard, torch.inf).flatten(0, 2).double().sort(0).values  # what exists comes first
    last = (exists.flatten(0, 2).sum(0) - 1).clamp_min(0)
    values = sample.gather(0, torch.minimum((ranks[:, None] * (last + 1)).long(), last))  # g at z
    values = torch.where(values.isfinite(), values, 0.0)
    values = values - density @ values
    variance = density @ values.square()
    polynomial, before, powers = z, torch.ones_like(z), []
    for order in range(1, _ORDERS):
        powers.append((density * polynomial) @ values)
        polynomial, before = (z * polynomial - order**0.5 * before) / (order + 1) ** 0.5, polynomial
    shares = torch.stack(powers).square() / variance.clamp_min(_LEAST)
    rest = (1 - shares.sum(0)).clamp_min(0.0)  # of higher orders, which count near a correlation of one only
    grid = torch.linspace(0.0, 1.0, 201, dtype=torch.double)
    of_data = grid[:, None] ** torch.arange(1, _ORDERS) @ shares + grid[:, None] ** (2 * _ORDERS) * rest
    measured = autocorrelations(standard, exists).numpy()
    columns = [np.interp(row, curve, grid.numpy()) for row, curve in zip(measured.T, of_data.numpy().T, strict=True)]
    return torch.as_tensor(np.stack(columns, 1)) * (variance > _LEAST)


def fitted_kernel(correlations: Float[Tensor, "lag channel"], lags: list[int]) -> Kernel:
    """The kernel of each channel nearest to its correlations, by squares weighted by 1 / lag."""
    rates = torch.cat([torch.zeros(1), (-1 / torch.logspace(-1, 2, 80)).exp()]).clamp_max(MOST_PERSISTENT).double()
    slow, fast = rates[torch.combinations(torch.arange(len(rates)), with_replacement=True)].flip(1).T
    lag = torch.tensor(lags, dtype=torch.double)[:, None]
    weight = (1 / lag.sqrt())[..., None]
    of_slow, of_fast = (weight * (each**lag)[..., None] for each in (slow, fast))  # (lag, pair, 1)
    goal, apart = weight * correlations.double()[:, None] - of_fast, of_slow - of_fast
    share = ((goal * apart).sum(0) / apart.square().sum(0).clamp_min(_LEAST)).clamp(0.0, 1.0)  # (pair, channel)
    error = (goal - share * apart).square().sum(0) + _ONE_PART * share.mul(1 - share).sqrt()
    best = error.argmin(0)
    return Kernel(share.gather(0, best[None])[0], slow[best], fast[best])


def _table(
    standard: Latent, exists: Bool[Tensor, "row frame channel"], places: Float[Tensor, "row"]
) -> Float[Tensor, "3 spacing channel"]:
    """Kernels at `N_SPACINGS` places, linear between those measured."""
    measured, lags = places.unique(), lags_of(standard.shape[1])
    kernels = []
    for place in measured:
        there = places == place
        kernels.append(torch.stack(fitted_kernel(gaussian_correlations(standard[there], exists[there, :, None]), lags)))
    table = torch.stack(kernels, 1)  # (3, measured, channel)
    grid, at = np.linspace(0.0, 1.0, N_SPACINGS), measured.double().numpy()
    columns = [np.interp(grid, at, column) for column in table.transpose(1, 2).flatten(0, 1).numpy()]
    return torch.as_tensor(np.stack(columns)).unflatten(0, (3, -1)).transpose(1, 2)


def bound_noise(
    white: Latent, kernel: Kernel, values: Latent, known: Bool[Tensor, "batch frame token channel"]
) -> tuple[Latent, Latent]:
    """A draw of the process given its known values, and its expectation; both are `values` where these are known.

    Args:
        white: standard normal noise.
        kernel: kernel of each (batch, token, channel).
        values: standardised latents; only those that are known count.
        known: which are.
    """
    free = _unbound(white, kernel)
    # What binds a draw is what is expected of the process given how far the draw is off the known values.
    expected, correction = _expected(torch.stack([values, values - free]), kernel, known)
    return torch.where(known, values, free + correction), torch.where(known, values, expected)


class _Prediction:
    """What is expected of the slow and the fast part at a frame, given values of earlier frames (Kalman's filter)."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.slow = self.fast = torch.zeros(())
        self.slow_variance, self.fast_variance, self.covariance = kernel.share, 1 - kernel.share, torch.zeros(())

    @property
    def value(self) -> Tensor:
        """What is expected of their sum."""
        return self.slow + self.fast

    @property
    def gains(self) -> tuple[Tensor, Tensor, Tensor]:
        """Covariances of the two parts with their sum, and the variance of the sum."""
        slow, fast = self.slow_variance + self.covariance, self.fast_variance + self.covariance
        return slow, fast, (slow + fast).clamp_min(_LEAST)

    def advance(self, surprise: Tensor, gains: tuple[Tensor, Tensor, Tensor], known: Tensor | bool = True) -> None:
        """Go to the next frame, given how far the value of this one is off `value`, where it is known."""
        (share, keep_slow, keep_fast), (slow, fast, variance) = self.kernel, gains
        told = known / variance
        self.slow = keep_slow * (self.slow + slow * told * surprise)
        self.fast = keep_fast * (self.fast + fast * told * surprise)
        self.slow_variance = keep_slow.square() * (self.slow_variance - slow.square() * told - share) + share
        self.fast_variance = keep_fast.square() * (self.fast_variance - fast.square() * told - 1 + share) + 1 - share
        self.covariance = keep_slow * keep_fast * (self.covariance - slow * fast * told)


def _unbound(white: Latent, kernel: Kernel) -> Latent:
    """A draw of the process."""
    prediction, frames = _Prediction(kernel), []
    for frame in white.unbind(1):
        gains = prediction.gains
        surprise = gains[2].sqrt() * frame
        frames.append(prediction.value + surprise)
        prediction.advance(surprise, gains)
    return torch.stack(frames, 1)


def _expected(
    values: Float[Tensor, "draw batch frame token channel"],
    kernel: Kernel,
    known: Bool[Tensor, "batch frame token channel"],
) -> Float[Tensor, "draw batch frame token channel"]:
    """What is expected of all frames, given some (Bryson and Frazier's smoother)."""
    prediction, passed = _Prediction(kernel), []
    for value, here in zip(values.unbind(2), known.unbind(1), strict=True):
        expected, gains = prediction.value, prediction.gains
        surprise = torch.where(here, value - expected, 0.0)
        passed.append((expected, surprise, gains, here))
        prediction.advance(surprise, gains, here)
    slope_slow = slope_fast = torch.zeros(())
    frames = []
    for value, surprise, (slow, fast, variance), here in reversed(passed):
        pull = (surprise + (slow * slope_slow + fast * slope_fast) * here) / variance
        slope_slow, slope_fast = slope_slow - pull, slope_fast - pull
        frames.append(value - slow * slope_slow - fast * slope_fast)
        slope_slow, slope_fast = kernel.slow * slope_slow, kernel.fast * slope_fast
    return torch.stack(frames[::-1], 2)
