"""Mixture density network: the transition density of a latent as Gaussians whose parameters a network gives.

Source: Bishop, "Mixture Density Networks" (1994); used as in Sidky, Chen, Ferguson, Chem. Sci. 11, 9459 (2020).
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mdgen.errors import MdgenError
from mdgen.interfaces import Condition, Context, LatentSpace, Loss
from mdgen.models.batches import PairBatch, TrainingData
from mdgen.models.blocks.latent_scale import LatentScale
from mdgen.models.blocks.perceptron import initialise, perceptron
from mdgen.models.part import Part
from mdgen.models.propagators.bridge import sample_between, simulate_forward
from mdgen.models.propagators.filter_fitting import FilterFitting
from mdgen.models.propagators.gaussian_mixture import Mixture
from mdgen.models.propagators.mixture_rollout import MixtureWeights, rollout
from mdgen.models.propagators.proposal_envelope import ProposalEnvelope
from mdgen.models.propagators.regression_law import RegressionLaw
from mdgen.models.propagators.rejection_filter import MAX_CHANNELS_WITH_WELLS, RejectionFilter
from mdgen.models.rejection_sampling import Rows, rejection_sample
from mdgen.registry import register

MAX_REDRAWS = 32
"""How often a sample that left the support is drawn again before the walker stays where it is."""
KEPT_DRAWS, LEAST_CHANCE = 128, 1e-6
"""Samples from which densities tell the share that is kept, and the least chance to be kept in them."""
FRAMES_AT_ONCE = 10_000
"""Frames whose scale is undone at a time: they stay in the cache."""
LAW_FRAMES = 1_000
"""Frames of a batch over which the law is tested."""

Scaled = Float[Tensor, "batch channel"]
Latents = Float[Tensor, "batch token channel"]


@register
class MDN(Part):
    """Markov propagator `p(psi_{t+lag} | psi_t)` as a mixture of Gaussians with full covariances.

    The latent is scaled so that the data fills `[padding, 1 - padding]`; means lie in (0, 1) by a sigmoid, widths above
    a floor, so that no Gaussian collapses on a frame or strays. Full covariances cost six numbers a Gaussian instead of
    three (three modes) and follow the thin bent sheets on which slow modes lie.

    Args:
        latent: latent space of the encoder.
        lag_ps: time between two frames.
        n_components: number of Gaussians.
        hidden: widths of the hidden layers (ReLU).
        padding: margin of the scaled range at both sides, so that samples do not pile up at the edge.
        width_floor: least width of a Gaussian, in the scaled range.
        reversible: whether every pair is learnt in both directions.
        reject_outside: whether a sample outside the range of the data, or one that the `RejectionFilter`
            refuses, is drawn again.
        n_starts: number of frames of the data that are kept to start trajectories from.
        density_equalising: whether crowded regions of each channel get more room (`DensityEqualising`); worth it where
            rare states lie far from narrow peaks, as in slow modes of molecules.
        match_densities: whether each channel of a rollout is given the distribution of the data, which must then be in
            equilibrium, as long trajectories are and short runs from chosen starts are not.
        law_weight: weight in the loss of the squared violation of the `RegressionLaw`; 1 where few samples leave the
            support. The law is that of the mixture before any rejection: where many do, it makes timescales too long.
    """

    learns_from = "lagged_latents"
    window = 1
    training_defaults: ClassVar[dict[str, Any]] = {"optimizer": functools.partial(torch.optim.Adam, lr=5e-3)}
    starts: Tensor

    def __init__(
        self,
        latent: LatentSpace,
        lag_ps: float,
        n_components: int = 48,
        hidden: Sequence[int] = (100, 100),
        padding: float = 0.05,
        width_floor: float = 2e-3,
        reversible: bool = True,
        reject_outside: bool = True,
        n_starts: int = 512,
        density_equalising: bool = True,
        match_densities: bool = True,
        law_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if latent.tokens != 1:
            raise MdgenError(
                f"an MDN steps latents of one token; this one has {latent.tokens}: choose another propagator"
            )
        if not 0 <= padding < 0.5 or width_floor <= 0 or n_components < 1:
            raise MdgenError(
                f"an MDN needs 0 <= padding < 0.5, width_floor > 0 and n_components >= 1; "
                f"it was given {padding:g}, {width_floor:g} and {n_components}"
            )
        self.latent, self.lag_ps, self.frame_spacing_ps = latent, float(lag_ps), (float(lag_ps), float(lag_ps))
        self.n_components, self.padding, self.width_floor = n_components, padding, width_floor
        self.reversible, self.reject_outside = reversible, reject_outside
        self.match_densities = match_densities and latent.channels <= MAX_CHANNELS_WITH_WELLS
        channels = latent.channels
        self.per_component = channels + channels * (channels + 1) // 2
        self.trunk = perceptron(channels, hidden[:-1], hidden[-1], "relu")
        self.weight_head = nn.Linear(hidden[-1], n_components)
        self.shape_head = nn.Linear(hidden[-1], n_components * self.per_component)
        self.register_buffer("starts", torch.zeros(n_starts, 1, channels))
        self.latent_scale = LatentScale(channels, padding, density_equalising)
        self.law, self.law_weight = RegressionLaw(channels), law_weight
        self.rejection_filter = RejectionFilter(channels, padding)
        self.envelope = ProposalEnvelope(len(self.rejection_filter.acceptance), n_components)
        self.outside_share = float("nan")
        self._spread_means()

    @torch.no_grad()
    def _spread_means(self) -> None:
        # Widths begin at a fifth of the range, and means spread over it: otherwise all Gaussians begin as one.
        channels = self.latent.channels
        bias = self.shape_head.bias.view(self.per_component, self.n_components).T
        # A golden-ratio lattice fills the unit cube evenly for any number of points and channels, without drawing.
        powers = (math.sqrt(5) / 2 - 0.5) ** torch.arange(1, channels + 1)
        steps = torch.arange(1, self.n_components + 1)[:, None] * powers
        bias[:, :channels] = torch.logit((steps % 1).clamp(0.05, 0.95))
        bias[:, channels:] = 0.0
        bias[:, channels : 2 * channels] = math.log(math.expm1(0.2))

    def prepare(self, data: TrainingData, generator: torch.Generator) -> TrainingData:
        """Draw the weights and take the range of the latent and its regression from all the data."""
        self.initialise(generator)
        self.envelope.bounds.fill_(1.0)
        pairs: PairBatch = replace(data.every, context=Context())
        self.fit_scale(pairs.frames, generator)
        self.law.fit(pairs.both_directions() if self.reversible else pairs)
        return data

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights."""
        initialise(self, generator)
        self._spread_means()

    @torch.no_grad()
    def fit_scale(self, latents: Float[Tensor, "frame channel"], generator: torch.Generator) -> None:
        """Take the scale of the latent and its support from data, and the frames that trajectories may start from."""
        self.latent_scale.fit(latents)
        if self.reject_outside:
            self.rejection_filter.fit_support(self.scaled(latents))
        chosen = torch.randint(len(latents), (len(self.starts),), generator=generator, device=generator.device)
        self.starts.copy_(latents[chosen.to(latents.device)].unsqueeze(1))

    def scaled(self, latents: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Latents as the network sees them: within [0, 1], its density equalised where the settings say so."""
        scaled: Tensor = self.latent_scale(latents)
        return scaled

    def unscaled(self, scaled: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Latents from what the network sees."""
        return self.latent_scale.inverse(scaled)

    def mixture(self, scaled: Scaled) -> Mixture:
        """The Gaussians of the next scaled latent, given this one."""
        channels = self.latent.channels
        hidden = functional.relu(self.trunk(scaled))
        log_weights = functional.log_softmax(self.weight_head(hidden), -1)
        shapes = self.shape_head(hidden).view(-1, self.per_component, self.n_components).unbind(1)
        means = tuple(torch.sigmoid(shape) for shape in shapes[:channels])
        widths = tuple(self.width_floor + functional.softplus(shape) for shape in shapes[channels : 2 * channels])
        return Mixture(log_weights, means, widths, shapes[2 * channels :])

    def loss(self, batch: PairBatch, generator: torch.Generator | None = None) -> Loss:
        """Mean negative log-likelihood of the pairs, in the scaled latent, and the violation of the `RegressionLaw`.

        Where the settings say `reversible`, both directions of each pair count.
        """
        if self.reversible:
            # The context is not read, and need not be doubled.
            batch = replace(batch, context=Context()).both_directions()
        scaled = self.scaled(batch.frames)
        mixture = self.mixture(scaled)
        if len(batch.now) != len(scaled) or not torch.equal(batch.now, torch.arange(len(scaled)).to(batch.now)):
            mixture = mixture.rows(batch.now)
        likelihood = -(mixture.log_density(scaled[batch.later]) * batch.share(scaled.dtype)).sum()
        terms = {"negative_log_likelihood": likelihood.detach()}
        if self.law_weight == 0:
            return Loss(likelihood, terms)
        # Drawn as often as they occur: a weighted batch holds each distinct pair once.
        rows = torch.multinomial(batch.share(torch.float32), LAW_FRAMES, replacement=True, generator=generator)
        latents = batch.frames[batch.now[rows]]
        violation = self.law.violation(latents, self._mean(mixture.rows(rows))).square().sum()
        return Loss(likelihood + self.law_weight * violation, {**terms, "law_violation": violation.detach()})

    def mean(self, now: Latents) -> Latents:
        """Mean of the latent one lag on, of the mixture before any rejection; differentiable.

        Where the density is equalised, the mean of each Gaussian is a Gauss-Hermite sum of three points a channel.
        """
        return self._mean(self.mixture(self.scaled(now[:, 0])))[:, None]

    def _mean(self, mixture: Mixture) -> Float[Tensor, "batch channel"]:
        middle, reach = torch.stack(mixture.means, -1), math.sqrt(3) * torch.stack(mixture.deviations, -1)
        means = self.unscaled(middle)
        if self.latent_scale.equalised is not None:
            means = (4 * means + self.unscaled(middle + reach) + self.unscaled(middle - reach)) / 6
        return (mixture.log_weights.exp()[..., None] * means).sum(1)

    def log_prob(self, next: Latents, now: Latents) -> Float[Tensor, "batch"]:
        """Log of the transition density of `step`, in the units of the latent itself.

        Where samples are refused, it is `p k (1 - (1 - Z)^n) / (S Z)` for the mixture `p`, the chance `k` that a sample
        is kept, the sum `S` of the weights of what is proposed (`ProposalEnvelope`), the share `Z` of it that is kept,
        and `n` draws at most. `S Z`, the mean of `k` over the mixture, is taken over `KEPT_DRAWS` samples, the same
        each time; `k` is at least `LEAST_CHANCE`, so that bridges reach known frames beyond the support.
        """
        before, after = self.scaled(now[:, 0]), self.scaled(next[:, 0])
        mixture = self.mixture(before)
        density = mixture.log_density(after) + self.latent_scale.log_slope(next[:, 0])
        if not self.reject_outside:
            return density
        chance = self.rejection_filter.chance(before, after).clamp_min(LEAST_CHANCE)
        return density + chance.log() + self._log_redrawn(before, mixture)

    def log_prob_table(
        self, next: Float[Tensor, "later token channel"], now: Float[Tensor, "now token channel"]
    ) -> Float[Tensor, "now later"]:
        """`log_prob` of every frame of `next` given every one of `now`; the network sees each `now` once."""
        before, after = self.scaled(now[:, 0]), self.scaled(next[:, 0])
        mixture = self.mixture(before)
        table = Mixture(mixture[0][:, None], *(tuple(each[:, None] for each in part) for part in mixture[1:]))
        density = table.log_density(after[None]) + self.latent_scale.log_slope(next[:, 0])
        if not self.reject_outside:
            return density
        chance = self.rejection_filter.chance(before.repeat_interleave(len(after), 0), after.repeat(len(before), 1))
        chance = chance.clamp_min(LEAST_CHANCE).view_as(density)
        return density + chance.log() + self._log_redrawn(before, mixture)[:, None]

    @torch.no_grad()
    def _log_redrawn(self, before: Scaled, mixture: Mixture) -> Float[Tensor, "batch"]:
        """Log of how many samples are drawn on average, from each frame, until one is kept."""
        generator = torch.Generator(before.device).manual_seed(0)
        kept = torch.zeros_like(before[:, 0])
        for _ in range(KEPT_DRAWS):
            kept += self.rejection_filter.chance(before, mixture.draw(generator, alike=True)) / KEPT_DRAWS
        share = self.envelope.share(mixture, self.rejection_filter.wells(before))
        kept, draws = kept / share, MAX_REDRAWS + 1  # of what is proposed
        number = -torch.expm1(draws * torch.log1p(-kept.clamp(max=1 - 1e-6))) / kept
        return torch.where(kept > 0, number, float(draws)).log() - share.log()

    @torch.no_grad()
    def step(self, now: Latents, generator: torch.Generator) -> Latents:
        """One lag on, one sample a walker."""
        before = self.scaled(now[:, 0])
        mixture = self.mixture(before)
        if not self.reject_outside:
            return self.unscaled(mixture.draw(generator))[:, None]
        wells = self.rejection_filter.wells(before)

        def draw(rows: Rows) -> tuple[Tensor, Tensor]:
            after, bounds = self.envelope.draw(mixture.rows(rows), wells[rows], generator)
            return after, ~self.rejection_filter.keeps(before[rows], after, generator, bounds)

        scaled, refused = rejection_sample(draw, MAX_REDRAWS)
        scaled[refused] = before[refused]
        return self.unscaled(scaled)[:, None]

    @torch.no_grad()
    def finish(self, data: TrainingData, generator: torch.Generator) -> None:
        """After the training: how often the data jump between wells, and how they are distributed (`FilterFitting`)."""
        if not self.reject_outside:
            return
        support = self.rejection_filter

        def following(now: Scaled) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
            return functools.partial(self.envelope.draw, self.mixture(now), support.wells(now))

        fitting = FilterFitting(self, support, self.scaled, following, MAX_REDRAWS, adapt=self._fit_envelope)
        fitting.fit(data.every, self.reversible, self.match_densities, generator)

    @torch.no_grad()
    def _fit_envelope(self, visited: Scaled, generator: torch.Generator) -> None:
        self.envelope.fit(self.mixture(visited), visited, self.rejection_filter, generator)

    @torch.no_grad()
    def sample(
        self, condition: Condition, context: Context, generator: torch.Generator
    ) -> Float[Tensor, "batch frame token channel"]:
        """Latent trajectories from the known first frame, through whatever later ones are known.

        `outside_share` afterwards holds the share of what was proposed that left the range of the data (before any
        redraw), where it simulated forward.
        """
        return sample_between(self, condition, context, generator, self._forward)

    def _forward(
        self, start: Latents, n_frames: int, generator: torch.Generator
    ) -> Float[Tensor, "batch frame token channel"]:
        if start.device.type != "cpu":
            return self._sample_on_device(start, n_frames, generator)
        if not bool(torch.isfinite(start).all()):
            raise MdgenError("the latent of a start is not finite; check the encoder and the structures")
        scaled = np.ascontiguousarray(self.scaled(start[:, 0]).numpy(), np.float32)
        seeds = torch.randint(-(2**63), 2**63 - 1, (len(start),), generator=generator, dtype=torch.int64).numpy()
        limits = (self.padding, 1 - self.padding, MAX_REDRAWS if self.reject_outside else 0)
        proposed = self.envelope.bounds if self.reject_outside else torch.ones_like(self.envelope.bounds)
        tables, bounds = self.rejection_filter.tables(), proposed.cpu().numpy().astype(np.float32)
        values, left = rollout(self.rollout_weights(), scaled, seeds.view(np.uint64), n_frames, limits, tables, bounds)
        self.outside_share = float(left.sum()) / max(1, len(start) * (n_frames - 1))
        trajectory = torch.from_numpy(values)
        for frames in trajectory.view(-1, values.shape[2]).split(FRAMES_AT_ONCE):
            frames.copy_(self.unscaled(frames))
        trajectory[:, 0] = start[:, 0]  # exactly what was given, not what scaling there and back makes of it
        return trajectory.unsqueeze(2)

    def _sample_on_device(self, start: Tensor, n_frames: int, generator: torch.Generator) -> Tensor:
        trajectory = simulate_forward(self, start, n_frames, generator)
        later = self.scaled(trajectory[:, 1:, 0].flatten(0, 1))
        self.outside_share = float(self.rejection_filter.leaves_support(later).sum()) / max(1, len(later))
        return trajectory

    def rollout_weights(self) -> MixtureWeights:
        """The weights as the compiled rollout wants them: float32, inputs by outputs, shapes grouped by component."""
        layers = [module for module in self.trunk if isinstance(module, nn.Linear)]
        shape = self.shape_head.weight.view(self.per_component, self.n_components, -1).transpose(0, 1)
        return MixtureWeights(
            tuple(_array(layer.weight.T) for layer in layers),
            tuple(_array(layer.bias) for layer in layers),
            _array(self.weight_head.weight.T),
            _array(self.weight_head.bias),
            _array(shape),
            _array(self.shape_head.bias.view(self.per_component, self.n_components).T),
            np.float32(self.width_floor),
        )

    @torch.no_grad()
    def transition_matrix(self, bin_edges: Float[Tensor, "edge"]) -> Float[Tensor, "state state"]:
        """The transition density of a one-channel latent integrated over bins, by the normal distribution function.

        Nothing is sampled. Steps begin at the middle of a bin; what leaves the range counts to the outermost bins.
        """
        if self.latent.channels != 1:
            raise MdgenError(f"bins need a latent of one channel; this one has {self.latent.channels}")
        middles = bin_edges[:-1, None] + 0.5 * bin_edges.diff()[:, None]
        mixture = self.mixture(self.scaled(middles).float())
        log_weights, means, widths = (part.double() for part in (mixture[0], mixture.means[0], mixture.widths[0]))
        edges = self.scaled(bin_edges[1:-1, None].double())[:, 0]
        below = torch.special.ndtr((edges - means[..., None]) / widths[..., None])
        ends = torch.zeros_like(below[..., :1])
        cumulative = torch.cat([ends, below, ends + 1], -1)
        return (log_weights.exp()[..., None] * cumulative.diff(dim=-1)).sum(1)


def _array(values: Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.detach().cpu().numpy().astype(np.float32))
