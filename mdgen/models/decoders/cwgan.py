"""Conditional Wasserstein GAN with gradient penalty: structures that share a latent, drawn from their distribution.

Source: Gulrajani et al., arXiv:1704.00028 (2017); as a decoder in Sidky, Chen, Ferguson, Chem. Sci. 11, 9459 (2020).
"""

import copy
import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.errors import MdgenError
from mdgen.interfaces import Context, Encoder, LatentSpace, Loss
from mdgen.models.batches import FrameBatch, RandomRows, TrainingData
from mdgen.models.blocks.perceptron import initialise, perceptron
from mdgen.models.decoders.contacts import Contacts
from mdgen.models.decoders.critic import Critic
from mdgen.models.decoders.density_ratio import DensityRatio
from mdgen.models.decoders.representation import Representation, Values
from mdgen.models.part import Part
from mdgen.models.rejection_sampling import Rows, rejection_sample
from mdgen.molecule.topology import Molecule
from mdgen.progress import Progress
from mdgen.registry import register, resolve

REPRESENTATIONS = {
    "internal": "mdgen.models.decoders.internal.InternalRepresentation",
    "cartesian": "mdgen.models.decoders.cartesian.CartesianRepresentation",
}
"""Short names of representations; any other is given by the dotted name that it is registered by."""

BLOCK = 8192
"""Frames that are decoded at a time."""


@register
class CWGAN(Part):
    """Decoder: a generator from noise and a latent to a represented structure, with the critic that trains it.

    The generator starts from a first guess, in which every value is drawn from its own distribution over the data,
    independent of the others and of the latent, and learns to correct it. A network is continuous: from Gaussian noise
    alone it cannot leave the space between two rotamers empty, while a correction keeps the gap that the guess has.

    The penalty is on the gradient in what the critic sees of the structure, not in the latent.

    Args:
        latent: latent space of the encoder.
        representation: positions to values and back: `internal` (bonds, angles and chirality right by construction),
            `cartesian` (as in the paper) or the dotted name of a registered class with `fitted(molecule, positions)`,
            fitted in `prepare`; or one that was fitted before.
        noise_channels: numbers of Gaussian noise a structure.
        hidden: widths of the hidden layers of generator and critic (Swish).
        gradient_penalty: weight of `(|gradient| - 1)^2`.
        redraws: number of times that a structure which is too frequent, or packed tighter than the data are, may be
            drawn again.
        critic_steps: steps of the critic to one of the generator in training.
        balance: 0 draws frames as they come; 1 draws rare latents as often as common ones. What is learnt, the
            distribution of structures at a latent, is the same; how well it is learnt where data are few is not.
        consistency_weight: weight of how far encoded structures are from their latents; 0 leaves it out.
        ratio_steps: training steps of the density ratio that rejects what is drawn too often; 0 leaves it out.
    """

    learns_from = "frames"
    training_defaults: ClassVar[dict[str, Any]] = {
        "optimizer": functools.partial(torch.optim.Adam, lr=5e-4, betas=(0.5, 0.9)),  # critics want little momentum
        "n_steps": 2500,
        "batch_size": 256,
        "average_decay": 0.999,
    }
    gain: Tensor
    latent_offset: Tensor
    latent_scale: Tensor

    def __init__(
        self,
        latent: LatentSpace,
        representation: nn.Module | str = "internal",
        noise_channels: int = 50,
        hidden: Sequence[int] = (200, 200, 200),
        gradient_penalty: float = 10.0,
        redraws: int = 16,
        critic_steps: int = 4,
        balance: float = 0.5,
        consistency_weight: float = 3.0,
        ratio_steps: int = 800,
    ) -> None:
        super().__init__()
        if noise_channels < 1:
            raise MdgenError(f"noise_channels is {noise_channels}; at least 1 is needed to draw different structures")
        self.latent, self.noise_channels, self.gradient_penalty = latent, noise_channels, gradient_penalty
        self.hidden, self.redraws = tuple(hidden), redraws
        self.critic_steps, self.balance, self.ratio_steps = critic_steps, balance, ratio_steps
        self.consistency_weight = consistency_weight
        self._encoder: list[Encoder] = []  # in a list, so that its weights stay out of checkpoints and optimisers
        if isinstance(representation, nn.Module):
            self._build(representation)
        else:
            self._representation: Any = resolve(REPRESENTATIONS.get(representation, representation))

    def _build(self, representation: nn.Module) -> None:
        self.representation: Representation = representation  # type: ignore[assignment]
        self.contacts = Contacts(self.representation.molecule)
        n_conditions = self.latent.tokens * self.latent.channels
        n_values = self.representation.n_values
        self.generator = perceptron(self.noise_channels + n_values + n_conditions, self.hidden, n_values, "swish")
        self.gain = nn.Parameter(torch.ones(n_values))
        self.critic = Critic(self.representation.n_critic_values, n_conditions, self.hidden)
        self.register_buffer("latent_offset", torch.zeros(n_conditions))
        self.register_buffer("latent_scale", torch.ones(n_conditions))
        self.ratio = DensityRatio(self.representation.n_ratio_values, n_conditions)

    def prepare(self, data: TrainingData, generator: torch.Generator) -> TrainingData:
        """Fit the representation, draw the weights, and represent every frame once."""
        frames: FrameBatch = data.training
        if not hasattr(self, "representation"):
            fitted = self._representation.fitted(data.molecule, frames.frames)
            self._build(fitted)
            self.arguments["representation"] = fitted
        self.initialise(generator)
        self.fit_scale(frames.latents)
        if data.encoder is not None and self.consistency_weight > 0:
            own = copy.deepcopy(data.encoder)
            self._encoder = [own.requires_grad_(False) if isinstance(own, nn.Module) else own]
        values = torch.cat([self.representation.represent(block) for block in frames.frames.split(10_000)])
        weights = rarity(frames.latents) ** self.balance
        return replace(data, training=replace(frames, frames=values, weights=weights))

    def finish(self, data: TrainingData, generator: torch.Generator) -> None:
        """Train the density ratio and count what is packed too tightly."""
        self._encoder = []
        if self.ratio_steps > 0:
            self._fit_ratio(data.training, generator)
        self.fit_rejection(data.every, generator)

    def _fit_ratio(self, frames: FrameBatch, generator: torch.Generator, size: int = 2048) -> None:
        """Train the classifier behind the density ratio, on frames drawn as they come."""
        optimizer = torch.optim.AdamW(self.ratio.parameters(), lr=2e-3, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.ratio_steps)
        progress = Progress("density ratio", self.ratio_steps)
        rows = RandomRows(torch.ones(len(frames)))
        for step in range(1, self.ratio_steps + 1):
            batch = frames.rows(rows.draw(size, generator))
            with torch.no_grad():
                drawn = self.generate(batch.latents, self.noise(size, generator))
                real, drawn = (self.representation.ratio_values(values) for values in (batch.frames, drawn))
            loss = self.ratio.loss(real, drawn, self.conditions(batch.latents))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            progress.update(step, cross_entropy=float(loss.detach()))

    @property
    def molecule(self) -> Molecule:
        """Whose atoms are placed."""
        return self.representation.molecule

    @torch.no_grad()
    def fit_rejection(self, frames: FrameBatch, generator: torch.Generator) -> None:
        """After the training: from which ratio on draws are accepted, and how often they are packed too tightly."""
        self.contacts.fit_edges(frames.frames)
        latents = frames.latents
        some = latents[:: max(1, len(latents) // 20_000)]
        drawn = self.representation.ratio_values(self.generate(some, self.noise(len(some), generator)))
        self.ratio.fit_ceiling(drawn, self.conditions(some))
        decoded = self.decode(latents.view(len(latents), 1, self.latent.tokens, -1), frames.context, generator)[:, 0]
        self.contacts.fit(frames.frames, decoded)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights."""
        nn.init.ones_(self.gain)
        initialise(self.generator, generator)
        initialise(self.critic, generator)
        self.ratio.initialise(generator)

    @torch.no_grad()
    def fit_scale(self, latents: Float[Tensor, "frame channel"]) -> None:
        """Take the range of the latent from data, which the networks see as [-1, 1]."""
        low, high = latents.min(0).values, latents.max(0).values
        self.latent_offset.copy_((low + high) / 2)
        self.latent_scale.copy_(((high - low) / 2).clamp(min=1e-6))

    def conditions(self, latents: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch channel"]:
        """Latents as the networks see them: within [-1, 1]."""
        return (latents - self.latent_offset) / self.latent_scale

    def generate(self, latents: Float[Tensor, "batch channel"], noise: Float[Tensor, "batch noise"]) -> Values:
        """The represented structure that the generator makes of each latent and noise."""
        correction = self.generator(torch.cat([noise, self.conditions(latents)], -1))
        return self.representation.project(self.gain * noise[:, self.noise_channels :] + correction)

    def noise(self, count: int, generator: torch.Generator) -> Float[Tensor, "batch noise"]:
        """Noise for `count` structures: normal numbers, then first guesses."""
        normal = torch.randn(count, self.noise_channels, generator=generator, device=generator.device)
        return torch.cat([normal, self.representation.first_guess(count, generator)], -1)

    def critic_parameters(self) -> list[nn.Parameter]:
        """What the critic's steps move."""
        return list(self.critic.parameters())

    def critic_loss(self, batch: FrameBatch, generator: torch.Generator) -> Loss:
        """`mean C(generated) - mean C(real)` plus the gradient penalty between the two."""
        conditions = self.conditions(batch.latents)
        with torch.no_grad():
            fake = self.generate(batch.latents, self.noise(len(batch.latents), generator))
            fake = self.representation.critic_values(fake)
            real = self.representation.critic_values(batch.frames)
            share = torch.rand(len(real), 1, generator=generator, device=generator.device)
            between = torch.lerp(real, fake, share)
        scores = self.critic(torch.cat([fake, real]), conditions.repeat(2, 1))
        distance = scores[len(real) :].mean() - scores[: len(real)].mean()
        norms = self.critic.input_gradient(between, conditions).square().sum(-1).add(1e-12).sqrt()
        penalty = (norms - 1).square().mean()
        total = -distance + self.gradient_penalty * penalty
        return Loss(total, {"wasserstein": distance.detach(), "penalty": penalty.detach()})

    def generator_loss(self, batch: FrameBatch, generator: torch.Generator) -> Loss:
        """`-mean C(generated)`, and how far the encoded structures are from their latents.

        Structures of the true conditional reproduce their latent exactly, so the second term does not move the optimum.
        """
        values = self.generate(batch.latents, self.noise(len(batch.latents), generator))
        conditions = self.conditions(batch.latents)
        total = -self.critic(self.representation.critic_values(values), conditions).mean()
        terms = {"adversarial": total.detach()}
        for encoder in self._encoder:
            if isinstance(encoder, nn.Module):
                encoder.to(values.device)
            encoded = encoder.encode(self.representation.build(values), batch.context).flatten(1)
            deviation = ((encoded - batch.latents) / self.latent_scale).square().sum(-1).mean()
            terms["consistency"] = deviation.detach()
            total = total + self.consistency_weight * deviation
        return Loss(total, terms)

    @torch.no_grad()
    def decode(
        self, latent: Float[Tensor, "batch frame token channel"], context: Context, generator: torch.Generator
    ) -> Float[Tensor, "batch frame atom 3"]:
        """A structure for every frame, in nm; frames share no noise."""
        parts = latent.flatten(0, 1).flatten(1).split(BLOCK)
        return torch.cat([self._decode(part, generator) for part in parts]).unflatten(0, latent.shape[:2])

    def _decode(
        self, latents: Float[Tensor, "batch channel"], generator: torch.Generator
    ) -> Float[Tensor, "batch atom 3"]:
        positions = latents.new_zeros(len(latents), self.molecule.n_atoms, 3)

        def draw(rows: Rows) -> tuple[Values, Tensor]:
            conditions = latents[rows]
            values = self.generate(conditions, self.noise(len(conditions), generator))
            seen = self.representation.ratio_values(values)
            refused = self.ratio.rejected(seen, self.conditions(conditions), generator)
            kept = (~refused).nonzero()[:, 0]  # most are refused, and need no atoms
            built = self.representation.build(values[kept])
            refused[kept] = self.contacts.rejected(built, generator)
            positions[kept if isinstance(rows, slice) else rows[kept]] = built
            return values, refused

        values, refused = rejection_sample(draw, self.redraws)
        positions[refused] = self.representation.build(values[refused])
        return positions


def rarity(latents: Float[Tensor, "frame channel"], n_bins: int = 40) -> Float[Tensor, "frame"]:
    """One over how many frames share a frame's bin, in the channel in which it is rarest."""
    low, high = latents.min(0).values, latents.max(0).values
    bins = ((latents - low) / (high - low).clamp(min=1e-12) * n_bins).long().clamp(max=n_bins - 1)
    counts = [torch.bincount(channel, minlength=n_bins)[channel] for channel in bins.T]
    return 1.0 / torch.stack(counts).amin(0)
