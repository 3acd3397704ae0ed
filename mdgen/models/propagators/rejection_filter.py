"""A filter on the samples of a propagator: they lie as the data do, and jump between wells as often as the data do.

A mixture of Gaussians leaves a little density everywhere, also between wells, and one jump too many in a thousand steps
is nothing to a likelihood but everything to a slow timescale; and it blurs the sharp edges at which slow modes end. So
a sample is kept with a probability that depends on the cell it falls into, on the wells it joins and on where it lies
along each channel, and drawn again otherwise:

    p'(next | now) = p(next | now) a(now, next) w_1(next_1) w_2(next_2) ... / Z(now),   a = 0 outside the data's cells,

with `a` between wells such that the jumps, averaged over a well, are those counted in the data in both directions, and
`w` such that each channel is distributed as in the data where wells have the data's shares. Where `p` obeys detailed
balance with the density q, `p'` without `a` does with `q w Z`: of all reversible dynamics with the data's distribution
of each channel the one nearest to `p` in relative entropy, as in the problem of Schroedinger (Leonard,
arXiv:1308.0215).

No chance is above 1: what the product says beyond is clipped, for the one in a hundred of a well's samples that weigh
most. And leaving a well is kept only so many times as often as staying in it. Where a bound holds, the filter falls
short of the above.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

CELLS = {1: 256, 2: 48, 3: 24, 4: 14}
"""Cells along each channel, by the number of channels; with more channels there are none."""
MAX_CHANNELS_WITH_WELLS = 6
"""With more channels all is one well: the table of jumps between wells grows as 4 to the power of the channels."""
_BINS = 64
_SWEEPS, _PRIOR, _LEAST_WEIGHT = 5, 20.0, 0.001
"""Sweeps over the channels in a correction, frames added to those of each bin, and the least weight of a frame."""
_QUANTILE, _QUANTILE_FRAMES = 0.99, 100_000
"""Quantile of the weights of a well above which samples are kept for certain, and the frames that tell it at most."""
_VALLEY = 0.2
"""A valley in the density of a channel separates wells where it is lower than this share of the lower peak."""


Frames = Float[Tensor, "frame channel"]


class FilterTables(NamedTuple):
    """The filter as the compiled rollout wants it."""

    n_cells: int
    occupied: np.ndarray
    thresholds: np.ndarray
    acceptance: np.ndarray
    weights: np.ndarray


class RejectionFilter(nn.Module):
    """Which samples of a scaled latent are kept; keeps all within the scaled range before `fit_support`.

    Args:
        channels: channels of the latent.
        padding: margin of the scaled range [0, 1] that the data leave free at both sides.
    """

    occupied: Tensor
    thresholds: Tensor
    acceptance: Tensor
    weights: Tensor

    def __init__(self, channels: int, padding: float = 0.0) -> None:
        super().__init__()
        self.padding = padding
        self.n_cells = CELLS.get(channels, 0)
        self.register_buffer("occupied", torch.ones(max(1, self.n_cells**channels if self.n_cells else 1)).bool())
        self.register_buffer("thresholds", torch.full((channels,), float("inf")))
        self.has_wells = channels <= MAX_CHANNELS_WITH_WELLS
        n_wells = 2**channels if self.has_wells else 1
        self.register_buffer("acceptance", torch.ones(n_wells, n_wells))
        self.register_buffer("weights", torch.ones(channels, _BINS))

    def cells(self, scaled: Frames) -> Int[Tensor, "frame"]:
        """Number of the cell of each frame."""
        places = (scaled * self.n_cells).long().clamp(0, max(0, self.n_cells - 1))
        return (places * self.n_cells ** torch.arange(scaled.shape[1], device=scaled.device).flip(0)).sum(-1)

    def wells(self, scaled: Frames) -> Int[Tensor, "frame"]:
        """Number of the well of each frame: one bit a channel, or 0 with more than `MAX_CHANNELS_WITH_WELLS`."""
        bits = (scaled > self.thresholds).long()
        return (bits * 2 ** torch.arange(scaled.shape[1], device=scaled.device)).sum(-1)

    def outside(self, scaled: Frames) -> Bool[Tensor, "frame"]:
        """Whether a frame lies in a cell without data around."""
        return ~self.occupied[self.cells(scaled)]

    def leaves_support(self, scaled: Frames) -> Bool[Tensor, "frame"]:
        """Whether a frame lies beyond the range of the data in any channel, or in a cell without data around."""
        return ((scaled < self.padding) | (scaled > 1 - self.padding)).any(-1) | self.outside(scaled)

    def keeps(
        self, now: Frames, following: Frames, generator: torch.Generator, bounds: Float[Tensor, "frame"] | float = 1.0
    ) -> Bool[Tensor, "frame"]:
        """Whether each sample is kept, where it is proposed `bounds` times as often (`ProposalEnvelope`)."""
        chance = self.chance(now, following) / bounds
        return torch.rand(len(now), generator=generator, device=now.device, dtype=chance.dtype) < chance

    def chance(self, now: Frames, following: Frames) -> Float[Tensor, "frame"]:
        """The chance of each sample to be kept, 0 where it leaves the support."""
        chance = self.acceptance[self.wells(now), self.wells(following)] * self.weight(following)
        return torch.where(self.leaves_support(following), 0.0, chance.clamp_max(1.0))

    def weight(self, scaled: Frames) -> Float[Tensor, "frame"]:
        """The product of the weights of each frame's bins."""
        return self.weights.gather(1, _bins(scaled).T).prod(0)

    @torch.no_grad()
    def fit_support(self, scaled: Frames) -> None:
        """Take from data the cells that hold any, with their neighbours, and the valleys between wells."""
        if self.has_wells:
            self.thresholds.copy_(torch.stack([_valley(column) for column in scaled.T]))
        if not self.n_cells:
            return
        channels = scaled.shape[1]
        grid = torch.zeros(self.n_cells**channels, device=scaled.device)
        grid[self.cells(scaled)] = 1.0
        shaped = grid.reshape(*[self.n_cells] * channels)
        for channel in range(channels):
            rows = shaped.movedim(channel, -1)
            widened = nn.functional.max_pool1d(rows.reshape(-1, 1, self.n_cells), 3, 1, 1)
            shaped = widened.view(rows.shape).movedim(-1, channel)
        self.occupied.copy_(shaped.reshape(-1) > 0)

    @torch.no_grad()
    def correct(
        self,
        data: Float[Tensor, "well well"],
        model: Float[Tensor, "well well"],
        typical: Float[Tensor, "well"],
        most_boost: float,
    ) -> None:
        """Move the acceptance between wells so that the model's jumps, counted under it, become those of the data.

        Jumps that the data never make are never kept. A factor common to all samples from a well changes nothing but
        how many are refused, for `Z` takes it back: so the samples from a well that are kept most often are kept for
        certain, however rare the well is. What the model does too rarely can only be kept more often than the rest by
        refusing the rest: at most `most_boost` times, or walkers would stand still.

        Args:
            data: jumps of the data from well to well.
            model: those of the model under the filter so far.
            typical: `typical_weights` of the wells.
            most_boost: factor by which leaving a well is kept more often than staying in it, at most.
        """
        ratio = _rows(data) / _rows(model).clamp_min(1e-12)
        ratio = torch.where(model > 0, ratio, 1.0) * (data > 0)
        wanted = self.acceptance * torch.where(data.sum(1, keepdim=True) > 0, ratio, 1.0)
        chance = wanted * typical
        stay = chance.diagonal()[:, None]
        most = torch.where(stay > 0, most_boost * stay, chance)
        chance = torch.minimum(chance, most)
        highest = torch.where(model > 0, chance, 0.0).max(1, keepdim=True).values
        self.acceptance.copy_(torch.where(highest > 0, chance / highest.clamp_min(1e-12), chance) / typical)

    def typical_weights(self, visited: Frames) -> Float[Tensor, "well"]:
        """The weight that one in a hundred of the visited frames of each well exceeds; 1 where few are known."""
        wells, weights = self.wells(visited), self.weight(visited)
        found = torch.ones(len(self.acceptance), dtype=weights.dtype, device=weights.device)
        for well in wells.unique().tolist():
            some = weights[wells == well][:_QUANTILE_FRAMES]
            if len(some) >= _PRIOR:
                found[well] = torch.quantile(some, _QUANTILE)
        return found

    @torch.no_grad()
    def correct_densities(self, data: Frames, run: Float[Tensor, "visit channel"]) -> None:
        """Move the weights so that each channel of a run under them is distributed as in the data.

        The run is weighted to the data's shares of the wells, since it may be too short for its own; of wells that it
        did not visit, and of bins, nothing is learnt. Iterative proportional fitting, as the channels depend on each
        other; of what it asks for the square root is taken: a walker that stays where it is passes the same weight
        again and again.
        """
        wells, bins = self.wells(run), _bins(run)
        n = len(self.acceptance)
        shares = [torch.bincount(each, minlength=n).double() / len(each) for each in (self.wells(data), wells)]
        frames = (shares[0] / shares[1].clamp_min(1e-12))[wells] * (len(data) / len(run))
        visited = data[(shares[1] > 0)[self.wells(data)]]
        wanted = torch.stack([torch.bincount(column, minlength=_BINS) for column in _bins(visited).T])
        change = torch.ones_like(self.weights, dtype=torch.float64)
        for _ in range(_SWEEPS):
            for channel, column in enumerate(bins.T):
                found = torch.bincount(column, frames, minlength=_BINS)
                step = torch.where(found < _PRIOR, 1.0, (wanted[channel] + _PRIOR) / (found + _PRIOR))
                change[channel] *= step
                frames = frames * step[column]
        weights = self.weights * change.sqrt()
        largest = torch.where(wanted > 0, weights, 0.0).max(1, keepdim=True).values
        self.weights.copy_((weights / largest.clamp_min(1e-12)).clamp(_LEAST_WEIGHT ** (1 / len(weights)), 1.0))

    def tables(self) -> FilterTables:
        """Arrays for the compiled rollout."""
        return FilterTables(
            self.n_cells,
            self.occupied.cpu().numpy(),
            self.thresholds.cpu().numpy().astype(np.float32),
            self.acceptance.cpu().numpy().astype(np.float32),
            self.weights.cpu().numpy().astype(np.float32),
        )


def _bins(scaled: Frames) -> Int[Tensor, "frame channel"]:
    return (scaled * _BINS).long().clamp(0, _BINS - 1)


def _rows(counts: Float[Tensor, "well well"]) -> Float[Tensor, "well well"]:
    return counts / counts.sum(1, keepdim=True).clamp_min(1.0)


def _valley(column: Float[Tensor, "frame"]) -> Float[Tensor, ""]:
    """The deepest valley between two peaks of a density, or infinity."""
    counts = torch.bincount((column.double() * _BINS).long().clamp(0, _BINS - 1), minlength=_BINS).double()
    left = torch.cummax(counts, 0).values
    right = torch.cummax(counts.flip(0), 0).values.flip(0)
    depth = counts / torch.minimum(left, right).clamp_min(1.0)
    # Peaks must hold frames enough to count jumps by.
    depth[torch.minimum(left, right) < max(10.0, 1e-4 * len(column))] = 1.0
    lowest = depth.min()
    if float(lowest) >= _VALLEY:
        return torch.tensor(float("inf"), device=column.device)
    # The middle of the widest run of equally deep bins: most often an empty gap.
    places = (depth <= lowest).nonzero()[:, 0]
    runs = torch.tensor_split(places, ((places.diff() > 1).nonzero()[:, 0] + 1).tolist())
    widest = max(runs, key=len)
    return (widest.float().mean() + 0.5) / _BINS
