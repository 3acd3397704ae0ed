"""Conditional flow: the transition density of a latent as what an ordinary differential equation makes of noise.

Source: Lipman et al., "Flow matching for generative modeling" (ICLR 2023); densities by the exact divergence as in Chen
et al., "Neural ordinary differential equations" (NeurIPS 2018), cheap in the few channels of slow modes.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Condition, Context, LatentSpace, Loss
from mdgen.models.batches import PairBatch, TrainingData
from mdgen.models.blocks.latent_scale import LatentScale
from mdgen.models.blocks.perceptron import initialise, perceptron
from mdgen.models.part import Part
from mdgen.models.propagators.bridge import sample_between
from mdgen.models.propagators.filter_fitting import FilterFitting
from mdgen.models.propagators.rejection_filter import MAX_CHANNELS_WITH_WELLS, RejectionFilter
from mdgen.models.rejection_sampling import Rows, rejection_sample
from mdgen.registry import register

MAX_REDRAWS = 32
"""How often a sample that is refused is drawn again before the walker stays where it is."""
FILTER_EFFORT = 0.25
"""Share of the samples of other propagators by which the filter is fitted."""

Standard = Float[Tensor, "batch channel"]
"""Scaled latents of zero mean and unit variance, in which the flow runs."""
Latents = Float[Tensor, "batch token channel"]


@register
class LatentFlow(Part):
    """Markov propagator `p(psi_{t+lag} | psi_t)` by a network of velocities, from noise around now.

    The noise is centred at the present frame and as wide as a step is on average, so that the flow has little to do.

    Args:
        latent: latent space of the encoder.
        lag_ps: time between two frames.
        hidden: widths of the hidden layers (swish).
        n_steps: steps of the fourth-order Runge-Kutta solver; may be changed after the training.
        padding: margin of the scaled range at both sides.
        reversible: whether every pair is learnt in both directions.
        reject_outside: whether samples outside of the support of the data, and those that jump between wells oftener
            than the data do, are drawn again (`RejectionFilter`).
        match_densities: whether the filter gives each channel the distribution of the data, which must then be in
            equilibrium.
        n_starts: number of frames of the data that are kept to start trajectories from.
        density_equalising: whether crowded regions of each channel get more room (`DensityEqualising`).
    """

    learns_from = "lagged_latents"
    window = 1
    bridge_particles = 256
    training_defaults: ClassVar[dict[str, Any]] = {"optimizer": functools.partial(torch.optim.Adam, lr=2e-3)}
    centre: Tensor
    spread: Tensor
    step_size: Tensor
    starts: Tensor

    def __init__(
        self,
        latent: LatentSpace,
        lag_ps: float,
        hidden: Sequence[int] = (128, 128, 128),
        n_steps: int = 3,
        padding: float = 0.05,
        reversible: bool = True,
        reject_outside: bool = True,
        match_densities: bool = True,
        n_starts: int = 512,
        density_equalising: bool = True,
    ) -> None:
        super().__init__()
        if latent.tokens != 1:
            raise MdgenError(
                f"a LatentFlow steps latents of one token; this one has {latent.tokens}: choose another propagator"
            )
        if not 0 <= padding < 0.5 or n_steps < 1:
            raise MdgenError(f"a LatentFlow needs 0 <= padding < 0.5 and n_steps >= 1; given {padding:g} and {n_steps}")
        self.latent, self.lag_ps, self.frame_spacing_ps = latent, float(lag_ps), (float(lag_ps), float(lag_ps))
        self.n_steps, self.padding = n_steps, padding
        self.reversible, self.reject_outside = reversible, reject_outside
        self.match_densities = match_densities and latent.channels <= MAX_CHANNELS_WITH_WELLS
        channels = latent.channels
        self.network = perceptron(2 * channels + 3, hidden, channels, "swish")
        self.latent_scale = LatentScale(channels, padding, density_equalising)
        self.support = RejectionFilter(channels, padding)
        for name, value in (("centre", 0.0), ("spread", 1.0), ("step_size", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))
        self.register_buffer("starts", torch.zeros(n_starts, 1, channels))

    @torch.no_grad()
    def prepare(self, data: TrainingData, generator: torch.Generator) -> TrainingData:
        """Draw the weights; take scale, support and mean step of the latent from all the data."""
        initialise(self, generator)
        pairs: PairBatch = data.every
        self.latent_scale.fit(pairs.frames)
        scaled = self.latent_scale(pairs.frames)
        self.support.fit_support(scaled)
        share = pairs.share(scaled.dtype)[:, None]
        now, later = scaled[pairs.now], scaled[pairs.later]
        self.centre.copy_((share * now).sum(0))
        self.spread.copy_((share * (now - self.centre).square()).sum(0).sqrt())
        self.step_size.copy_((share * (later - now).square()).sum(0).sqrt() / self.spread)
        chosen = torch.randint(len(scaled), (len(self.starts),), generator=generator, device=generator.device)
        self.starts.copy_(pairs.frames[chosen.to(scaled.device)].unsqueeze(1))
        return data

    def standard(self, latents: Float[Tensor, "batch channel"]) -> Standard:
        """Latents as the network sees them."""
        return (self.latent_scale(latents) - self.centre) / self.spread

    def velocity(self, value: Standard, now: Standard, time: Float[Tensor, "batch"]) -> Standard:
        """Velocity of the flow, at times from 0 (noise) to 1."""
        angle = 2 * math.pi * time
        inputs = torch.cat([value, now, torch.stack([time, angle.sin(), angle.cos()], 1)], 1)
        velocity: Tensor = self.network(inputs) * self.step_size
        return velocity

    def loss(self, batch: PairBatch, generator: torch.Generator | None = None) -> Loss:
        """Mean square error of velocities along straight lines from noise to the next frame."""
        if self.reversible:
            batch = replace(batch, context=Context()).both_directions()
        standard = self.standard(batch.frames)
        now, later = standard[batch.now], standard[batch.later]
        noise = now + self.step_size * torch.randn(now.shape, generator=generator, device=now.device)
        time = torch.rand(len(now), generator=generator, device=now.device)
        value = torch.lerp(noise, later, time[:, None])
        error = (self.velocity(value, now, time) - (later - noise)) / self.step_size
        return Loss((batch.share(error.dtype)[:, None] * error.square()).sum() / error.shape[1])

    def log_prob(self, next: Latents, now: Latents) -> Float[Tensor, "batch"]:
        """Log of the transition density, in the units of the latent itself; before any rejection."""
        origin = self.standard(now[:, 0])

        def backwards(value: Standard, time: Tensor) -> tuple[Tensor, Tensor]:
            return self._with_divergence(value, origin, 1 - time)

        end, gain = self._integrate(backwards, self.standard(next[:, 0]))
        normal = (end - origin) / self.step_size
        noise = (-0.5 * normal.square() - self.step_size.log() - 0.5 * math.log(2 * math.pi)).sum(-1)
        return noise + gain - self.spread.log().sum() + self.latent_scale.log_slope(next[:, 0])

    def _with_divergence(self, value: Standard, now: Standard, time: Tensor) -> tuple[Tensor, Tensor]:
        """The velocity backwards in time, and the rate at which it adds to the log of the density."""
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            value = value if value.requires_grad else value.detach().requires_grad_()
            velocity = self.velocity(value, now, time)
            rows = [
                torch.autograd.grad(velocity[:, i].sum(), value, create_graph=keep, retain_graph=True)[0][:, i]
                for i in range(velocity.shape[1])
            ]
        divergence = torch.stack(rows).sum(0)
        return (-velocity, -divergence) if keep else (-velocity.detach(), -divergence.detach())

    def _integrate(
        self, rates: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], value: Standard
    ) -> tuple[Standard, Float[Tensor, "batch"]]:
        """Value and integral at time 1 from those at time 0, by Runge-Kutta of fourth order."""
        total = torch.zeros_like(value[:, 0])
        h = 1 / self.n_steps
        for number in range(self.n_steps):
            time = torch.full_like(total, number * h)
            slope_1, rate_1 = rates(value, time)
            slope_2, rate_2 = rates(value + 0.5 * h * slope_1, time + 0.5 * h)
            slope_3, rate_3 = rates(value + 0.5 * h * slope_2, time + 0.5 * h)
            slope_4, rate_4 = rates(value + h * slope_3, time + h)
            value = value + h / 6 * (slope_1 + 2 * slope_2 + 2 * slope_3 + slope_4)
            total = total + h / 6 * (rate_1 + 2 * rate_2 + 2 * rate_3 + rate_4)
        return value, total

    def finish(self, data: TrainingData, generator: torch.Generator) -> None:
        """After the training: how often the data jump between wells, and how they are distributed (`FilterFitting`)."""
        if not self.reject_outside:
            return

        def following(now: Tensor) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
            origin, once = (now - self.centre) / self.spread, torch.ones_like(now[:, 0])
            return lambda generator: (self._draw(origin, _noise_like(origin, generator)), once)

        fitting = FilterFitting(self, self.support, self.latent_scale, following, MAX_REDRAWS, FILTER_EFFORT)
        fitting.fit(data.every, self.reversible, self.match_densities, generator)

    @torch.no_grad()
    def step(self, now: Latents, generator: torch.Generator) -> Latents:
        """One lag on, one sample a walker."""
        origin = self.standard(now[:, 0])

        before = origin * self.spread + self.centre

        def draw(rows: Rows) -> tuple[Tensor, Tensor]:
            # Numbers are drawn for all, so that no walker's depend on which others are drawn again.
            noise = _noise_like(origin, generator)
            point = torch.rand(len(origin), generator=generator, device=origin.device)
            drawn = self._draw(origin[rows], noise[rows])
            return drawn, point[rows] >= self.support.chance(before[rows], drawn)

        if not self.reject_outside:
            return self.latent_scale.inverse(self._draw(origin, _noise_like(origin, generator)))[:, None]
        scaled, refused = rejection_sample(draw, MAX_REDRAWS)
        scaled[refused] = before[refused]
        return self.latent_scale.inverse(scaled)[:, None]

    def _draw(self, origin: Standard, noise: Standard) -> Float[Tensor, "batch channel"]:
        """Scaled latents one lag after `origin`, from standard normal noise."""
        still = torch.zeros_like(origin[:, 0])
        end, _ = self._integrate(
            lambda value, time: (self.velocity(value, origin, time), still), origin + self.step_size * noise
        )
        return end * self.spread + self.centre

    @torch.no_grad()
    def sample(
        self, condition: Condition, context: Context, generator: torch.Generator
    ) -> Float[Tensor, "batch frame token channel"]:
        """Latent trajectories from the known first frame, through whatever later ones are known."""
        return sample_between(self, condition, context, generator)


def _noise_like(origin: Standard, generator: torch.Generator) -> Standard:
    return torch.randn(origin.shape, generator=generator, device=origin.device, dtype=origin.dtype)
