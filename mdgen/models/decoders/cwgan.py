"""Conditional Wasserstein GAN with gradient penalty: structures that share a latent, drawn from their distribution.

Source: Gulrajani et al., arXiv:1704.00028 (2017); as a decoder in Sidky, Chen, Ferguson, Chem. Sci. 11, 9459 (2020).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.errors import MdgenError
from mdgen.interfaces import Context, Encoder, LatentSpace, Loss
from mdgen.models.batches import DecoderBatch
from mdgen.models.blocks.perceptron import initialise, perceptron
from mdgen.models.decoders.contacts import Contacts
from mdgen.models.decoders.critic import Critic
from mdgen.models.decoders.density_ratio import DensityRatio
from mdgen.models.decoders.representation import Representation
from mdgen.molecule.topology import Molecule
from mdgen.registry import register

BLOCK = 8192
"""Frames that are decoded at a time."""


@register
class CWGAN(nn.Module):
    """Decoder: a generator from noise and a latent to a represented structure, with the critic that trains it.

    The generator starts from a first guess, in which every value is drawn from its own distribution over the data,
    independent of the others and of the latent, and learns to correct it. A network is continuous: from Gaussian noise
    alone it cannot leave the space between two rotamers empty, while a correction keeps the gap that the guess has.

    The penalty is on the gradient in what the critic sees of the structure, not in the latent.

    Args:
        latent: of the encoder.
        representation: positions to values and back, fitted to the training data.
        noise_channels: numbers of Gaussian noise a structure.
        hidden: widths of the hidden layers of generator and critic (Swish).
        gradient_penalty: weight of `(|gradient| - 1)^2`.
        redraws: how often a structure that is too frequent, or packed tighter than the data are, may be drawn again.
    """

    gain: Tensor
    latent_offset: Tensor
    latent_scale: Tensor

    def __init__(
        self,
        latent: LatentSpace,
        representation: nn.Module,
        noise_channels: int = 50,
        hidden: Sequence[int] = (200, 200, 200),
        gradient_penalty: float = 10.0,
        redraws: int = 16,
    ) -> None:
        super().__init__()
        if noise_channels < 1:
            raise MdgenError(f"noise_channels is {noise_channels}; at least 1 is needed to draw different structures")
        self.arguments = {
            "latent": latent,
            "representation": representation,
            "noise_channels": int(noise_channels),
            "hidden": [int(width) for width in hidden],
            "gradient_penalty": float(gradient_penalty),
            "redraws": int(redraws),
        }
        self.latent, self.noise_channels, self.gradient_penalty = latent, noise_channels, gradient_penalty
        self.representation: Representation = representation  # type: ignore[assignment]
        self.redraws, self.rejected_share = redraws, float("nan")
        self.contacts = Contacts(self.representation.molecule)
        n_conditions = latent.tokens * latent.channels
        n_values = self.representation.n_values
        self.generator = perceptron(noise_channels + n_values + n_conditions, hidden, n_values, "swish")
        self.gain = nn.Parameter(torch.ones(n_values))
        self.critic = Critic(self.representation.n_critic_values, n_conditions, hidden)
        self.register_buffer("latent_offset", torch.zeros(n_conditions))
        self.register_buffer("latent_scale", torch.ones(n_conditions))
        self.ratio = DensityRatio(self.representation.n_ratio_values, n_conditions)

    @property
    def molecule(self) -> Molecule:
        """Whose atoms are placed."""
        return self.representation.molecule

    @torch.no_grad()
    def fit_rejection(
        self,
        positions: Float[Tensor, "frame atom 3"],
        latents: Float[Tensor, "frame channel"],
        generator: torch.Generator,
    ) -> None:
        """After the training: from which ratio on draws are accepted, and how often they are packed too tightly.

        Args:
            positions: training frames.
            latents: of the same frames.
            generator: of the structures that are decoded for the count.
        """
        nn.init.ones_(self.contacts.acceptance)
        some = latents[:: max(1, len(latents) // 20_000)]
        drawn = self.representation.ratio_values(self.generate(some, self.noise(len(some), generator)))
        self.ratio.fit_ceiling(drawn, self.conditions(some))
        decoded = self.decode(latents.view(1, len(latents), self.latent.tokens, -1), Context(), generator)[0]
        self.contacts.fit(positions, decoded)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights anew."""
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

    def ratio_loss(self, batch: DecoderBatch, generator: torch.Generator) -> Loss:
        """Of the density ratio, for structures drawn now; the generator is left as it is."""
        with torch.no_grad():
            drawn = self.generate(batch.latents, self.noise(len(batch.latents), generator))
            real, drawn = (self.representation.ratio_values(values) for values in (batch.values, drawn))
        return self.ratio.loss(real, drawn, self.conditions(batch.latents))

    def generate(
        self, latents: Float[Tensor, "batch channel"], noise: Float[Tensor, "batch noise"]
    ) -> Float[Tensor, "batch value"]:
        """The represented structure that the generator makes of each latent and noise."""
        conditions = self.conditions(latents)
        first_guess = noise[:, self.noise_channels :]
        correction = self.generator(torch.cat([noise, conditions], -1))
        return self.representation.project(self.gain * first_guess + correction)

    def noise(self, count: int, generator: torch.Generator) -> Float[Tensor, "batch noise"]:
        """Noise for `count` structures: normal numbers, then first guesses."""
        normal = torch.randn(count, self.noise_channels, generator=generator, device=generator.device)
        return torch.cat([normal, self.representation.first_guess(count, generator)], -1)

    def critic_loss(self, batch: DecoderBatch, generator: torch.Generator) -> Loss:
        """`mean C(generated) - mean C(real)` plus the gradient penalty between the two."""
        conditions = self.conditions(batch.latents)
        with torch.no_grad():
            fake = self.generate(batch.latents, self.noise(len(batch.latents), generator))
            fake = self.representation.critic_values(fake)
            real = self.representation.critic_values(batch.values)
            share = torch.rand(len(real), 1, generator=generator, device=generator.device)
            between = torch.lerp(real, fake, share)
        scores = self.critic(torch.cat([fake, real]), conditions.repeat(2, 1))
        distance = scores[len(real) :].mean() - scores[: len(real)].mean()
        norms = self.critic.input_gradient(between, conditions).square().sum(-1).add(1e-12).sqrt()
        penalty = (norms - 1).square().mean()
        total = -distance + self.gradient_penalty * penalty
        return Loss(total, {"wasserstein": distance.detach(), "penalty": penalty.detach()})

    def generator_loss(
        self,
        batch: DecoderBatch,
        generator: torch.Generator,
        encoder: Encoder | None = None,
        consistency_weight: float = 0.0,
    ) -> Loss:
        """`-mean C(generated)`, and where an encoder is given how far the encoded structures are from their latents.

        Structures of the true conditional reproduce their latent exactly, so the second term does not move the optimum.

        Args:
            batch: its latents are the conditions.
            generator: of the noise.
            encoder: that defines the latent; not trained here.
            consistency_weight: weight of the squared deviation of the scaled latent.
        """
        values = self.generate(batch.latents, self.noise(len(batch.latents), generator))
        conditions = self.conditions(batch.latents)
        adversarial = -self.critic(self.representation.critic_values(values), conditions).mean()
        if encoder is None or consistency_weight == 0:
            return Loss(adversarial, {"adversarial": adversarial.detach()})
        encoded = encoder.encode(self.representation.build(values), Context()).flatten(1)
        deviation = ((encoded - batch.latents) / self.latent_scale).square().sum(-1).mean()
        terms = {"adversarial": adversarial.detach(), "consistency": deviation.detach()}
        return Loss(adversarial + consistency_weight * deviation, terms)

    @torch.no_grad()
    def decode(
        self, latent: Float[Tensor, "batch frame token channel"], context: Context, generator: torch.Generator
    ) -> Float[Tensor, "batch frame atom 3"]:
        """A structure for every frame, in nm; frames share no noise.

        `rejected_share` afterwards holds the share of frames whose first draw was rejected.
        """
        flat = latent.flatten(0, 1).flatten(1)
        blocks, rejected_first = [], 0
        for part in flat.split(BLOCK):
            positions, rejected = self._draw(part, generator)
            rejected_first += int(rejected.sum())
            for _ in range(self.redraws):
                chosen = rejected.nonzero()[:, 0]
                if not len(chosen):
                    break
                positions[chosen], rejected[chosen] = self._draw(part[chosen], generator)
            blocks.append(positions)
        self.rejected_share = rejected_first / max(1, len(flat))
        return torch.cat(blocks).unflatten(0, latent.shape[:2])

    def _draw(self, latents: Float[Tensor, "batch channel"], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A structure for each latent, and whether it is to be drawn again."""
        values = self.generate(latents, self.noise(len(latents), generator))
        positions = self.representation.build(values)
        seen = self.representation.ratio_values(values)
        rejected = self.ratio.rejected(seen, self.conditions(latents), generator)
        return positions, rejected | self.contacts.rejected(positions, generator)
