"""The fit of a `RejectionFilter`: the propagator runs under it, and it is corrected by where the runs go.

What matters is where the propagator itself goes, not where the data are: each round runs it under the filter so far,
from every well alike, and counts how often it would jump from there.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.data.conditions import first_frame
from mdgen.interfaces import MarkovPropagator
from mdgen.models.batches import PairBatch
from mdgen.models.propagators.rejection_filter import RejectionFilter
from mdgen.progress import Progress

FILTER_ROUNDS, FILTER_WALKERS, FILTER_FRAMES = 6, 2000, 200
"""Corrections of the filter, and the trajectories of each with their length."""
EXPECTED_FRAMES = 80_000
"""Frames of a run, as many of each well, from which the filtered step is sampled; fewer where `effort` is less."""
MOST_BOOST, MOST_BOOST_ADAPTED = 4.0, 16.0
"""How many times more often than staying in a well leaving it is kept at most: most samples are refused then, but not
where what is proposed is fitted to the filter."""
ADAPTED_FRAMES = 20_000
"""Frames, as many of each well, to which what is proposed is fitted."""
MOST_STILL = 0.02
"""Share of frames that repeat the one before, above which a warning says so."""

logger = logging.getLogger("mdgen")

Scaled = Float[Tensor, "frame channel"]
Counts = Float[Tensor, "well well"]


class FilterFitting:
    """Corrects the filter of a propagator.

    Args:
        propagator: propagator whose `sample` draws under the filter.
        filter_: its filter, to be corrected; its support is fitted.
        scaled: the scaled latent of a latent.
        following: function of scaled frames that gives one which draws the next of each, before any rejection, and how
            many times as often it is proposed as the law before rejection has it.
        redraws: number of times that the propagator draws a refused sample again before its walker stays.
        effort: share of the trajectories and samples to be taken, less for propagators that take long to draw.
        adapt: function of scaled frames that are visited and of a generator, which fits what the propagator proposes to
            the filter so far, after each correction; None where nothing is to be fitted.
    """

    def __init__(
        self,
        propagator: MarkovPropagator,
        filter_: RejectionFilter,
        scaled: Callable[[Tensor], Tensor],
        following: Callable[[Tensor], Callable[[torch.Generator], tuple[Tensor, Tensor]]],
        redraws: int,
        effort: float = 1.0,
        adapt: Callable[[Scaled, torch.Generator], None] | None = None,
    ) -> None:
        self.propagator, self.filter, self.scaled, self.following = propagator, filter_, scaled, following
        self.redraws, self.effort, self.adapt = redraws, effort, adapt
        self.most_boost = MOST_BOOST if adapt is None else MOST_BOOST_ADAPTED
        self.n_wells = len(filter_.acceptance)

    @torch.no_grad()
    def fit(self, pairs: PairBatch, reversible: bool, match_densities: bool, generator: torch.Generator) -> None:
        """Correct the filter round by round, and warn where walkers stay because none of their samples is kept.

        Args:
            pairs: lagged pairs of the data.
            reversible: whether jumps count in both directions.
            match_densities: whether each channel is to be distributed as in the data.
            generator: generator of the starts and of the samples.
        """
        scaled = self.scaled(pairs.frames)
        wells = self.filter.wells(scaled)
        one_well = len(wells.unique()) == 1
        jumps = None if one_well else self._counted(wells[pairs.now], wells[pairs.later], reversible)
        still = self._correct(pairs, wells, jumps, scaled if match_densities else None, generator)
        if still > MOST_STILL:
            logger.warning(
                "propagator    %.0f %% of the frames repeat the one before, since none of %d samples was kept",
                100 * still,
                self.redraws + 1,
            )

    def _correct(
        self,
        pairs: PairBatch,
        wells: Int[Tensor, "frame"],
        jumps: Counts | None,
        densities: Scaled | None,
        generator: torch.Generator,
    ) -> float:
        """Correct round by round; the share of frames that repeat the one before under the filter that is left."""
        rounds = FILTER_ROUNDS if jumps is not None or densities is not None else 0
        progress = Progress("filter", rounds + 1)
        for number in range(rounds):
            run = self._run(pairs, wells, generator)
            visited = run[:, FILTER_FRAMES // 2 :].reshape(-1, run.shape[-1])
            if densities is not None:
                self.filter.correct_densities(densities, visited)
            typical = self.filter.typical_weights(visited)
            if jumps is not None:
                self.filter.correct(jumps, self._expected(visited, generator), typical, self.most_boost)
            else:
                self.filter.acceptance.copy_(1 / typical.expand_as(self.filter.acceptance))
            if self.adapt is not None:
                self.adapt(visited[evenly(self.filter.wells(visited), ADAPTED_FRAMES, generator)], generator)
            progress.update(number + 1)
        run = self._run(pairs, wells, generator)
        progress.update(rounds + 1)
        return float((run[:, 1:] == run[:, :-1]).all(-1).float().mean())

    def _run(
        self, pairs: PairBatch, wells: Int[Tensor, "frame"], generator: torch.Generator
    ) -> Float[Tensor, "walker step channel"]:
        """Trajectories under the filter so far, from every well alike."""
        rows = evenly(wells, round(self.effort * FILTER_WALKERS), generator)
        # The last frames of a trajectory begin no pair: theirs is the context of the last pair before them.
        context = pairs.context.rows((torch.searchsorted(pairs.now, rows, right=True) - 1).clamp_min(0))
        spacing = torch.full((len(rows),), self.propagator.frame_spacing_ps[0])
        context = replace(context, frame_spacing_ps=spacing)  # of what is sampled, not of the data
        condition = first_frame(pairs.frames[rows][:, None], FILTER_FRAMES)
        return self.scaled(self.propagator.sample(condition, context, generator)[:, :, 0])

    def _counted(self, now: Int[Tensor, "pair"], later: Int[Tensor, "pair"], reversible: bool) -> Counts:
        n = self.n_wells
        jumps = torch.bincount(now * n + later, minlength=n * n).view(n, n).double()
        return jumps + jumps.T if reversible else jumps

    def _expected(self, visited: Scaled, generator: torch.Generator, draws: int = 16) -> Counts:
        """Chances of the filtered step from visited frames, as many of each well, summed by the wells that it joins."""
        jumps = torch.zeros(self.n_wells, self.n_wells, dtype=torch.float64, device=visited.device)
        # Few frames at the edge of a well make most of its jumps: many frames and few draws of each tell them best.
        size = round(self.effort * EXPECTED_FRAMES)
        for now in visited[evenly(self.filter.wells(visited), size, generator)].split(10_000):
            before, draw = self.filter.wells(now), self.following(now)
            chances = torch.zeros(len(now), self.n_wells, dtype=torch.float64, device=now.device)
            for _ in range(draws):
                after, bounds = draw(generator)
                chance = (self.filter.chance(now, after).double() / bounds).clamp(max=1.0)  # as it is sampled
                chances.scatter_add_(1, self.filter.wells(after)[:, None], chance[:, None])
            # Refused samples are drawn again, so the chances of a frame add up to one; a walker whose samples are all
            # refused stays.
            kept = chances.sum(1, keepdim=True)
            stays = (1 - kept / draws).clamp(0, 1) ** (self.redraws + 1)
            chances *= (1 - stays) / kept.clamp_min(1e-12)
            jumps.index_add_(0, before, chances.scatter_add(1, before[:, None], stays))
        return jumps


def evenly(wells: Int[Tensor, "frame"], size: int, generator: torch.Generator) -> Int[Tensor, "size"]:
    """Rows drawn with repetition, as many of each well."""
    # Summed and searched, as torch.multinomial takes no more than 2^24 rows; the sum in double precision.
    cumulative = (1.0 / torch.bincount(wells)[wells].double()).cumsum(0)
    points = torch.rand(size, generator=generator, device=generator.device, dtype=torch.float64).to(wells.device)
    return torch.searchsorted(cumulative, points * cumulative[-1], right=True).clamp_max(len(wells) - 1)
