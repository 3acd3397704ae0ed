"""Residue design: which residues, given how others move.

Tokens are rigid motions and, as further channels, a point of the amino-acid simplex that all frames of a window share.
Both are carried from noise to data by one flow. Of the simplex the network tells the probabilities `p` of the types, by
cross-entropy: that is least at the conditional ones, so the velocity that `E[data | x] = sum_k p_k corner_k` gives is
the one that its square error would be least for. Around Gaussian noise the evidence of `x` itself is a term of
`log p` that is known exactly, `alpha corner_k x / sigma^2`; a network that has learnt nothing designs by the
frequencies of the training data.

Source: Jing, Staerk, Jaakkola and Berger, "Generative modeling of molecular dynamics trajectories" (NeurIPS 2024),
whose design leaves torsions out too; the cross-entropy and the exact evidence are this package's.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot, pad

from mdgen.data.collation import TrajectoryBatch
from mdgen.errors import MdgenError
from mdgen.interfaces import Context, DesignedResidues, Loss
from mdgen.models.blocks.se3_tokens import RIGID
from mdgen.models.interpolant.flow_matching import masked_mean
from mdgen.models.interpolant.gaussian_process import GaussianProcess
from mdgen.models.interpolant.partly_known import (
    FARTHEST,
    PartlyKnown,
    draw_designed,
    draw_told,
    is_amino_acid,
    partly_known,
    types_of,
)
from mdgen.models.interpolant.paths import Path
from mdgen.models.interpolant.velocity_network import Conditioning, TokenContext, VelocityNetwork
from mdgen.models.rejection_sampling import Rows, rejection_sample
from mdgen.molecule.residues import AMINO_ACIDS, RESIDUE_TYPES

METHODS = ("flow", "rejection")

UNMOVED = 0.25
"""Share of training windows at flow time 0, where nothing but what is known tells of the types."""

PLACES = 16
"""Places along a chain whose frequencies of types are kept apart; later ones share the last."""

CORNER = 3.0
"""Distance of a corner of the simplex from the origin, in spreads of the noise: types are decided halfway."""

MOST_PROPOSALS = 1_000
"""Candidates for a residue at most; one is accepted long before."""

DESIGNED_TOKENS = 4_096
"""Tokens of all frames of the windows that are designed from at a time."""

_N_TYPES = AMINO_ACIDS.stop - AMINO_ACIDS.start

_LEAST_NOISE = 1e-2
"""Least spread of the noise that is divided by."""

Motion = Float[Tensor, "batch frame token motion"]
Simplex = Float[Tensor, "batch token type"]


@dataclass(frozen=True)
class Trunk:
    """The network that a design shares with other tasks, and what is common to all rows of a batch.

    Args:
        network: network of velocities.
        path: path from noise to data.
        spacing: place of each row's frame spacing in the range of the training, from 0 to 1.
        temperature: likewise.
        solve: solution of a flow, given its velocity and its start.
    """

    network: VelocityNetwork
    path: Path
    spacing: Float[Tensor, "batch"]
    temperature: Float[Tensor, "batch"]
    solve: Callable[[Callable[[Tensor, float], Tensor], Tensor], Tensor]

    def rows(self, chosen: Int[Tensor, "row"]) -> "Trunk":
        """That of some rows."""
        return replace(self, spacing=self.spacing[chosen], temperature=self.temperature[chosen])


class ResidueDesigner(nn.Module):
    """What a `VelocityNetwork` needs beside itself to design residues.

    Args:
        width: channels within the network.
    """

    log_frequencies: Float[Tensor, "place type"]
    """Logarithm of the frequencies of types at each place of the training molecules."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.noisy = nn.Linear(_N_TYPES, width, bias=False)
        self.told = nn.Embedding(len(RESIDUE_TYPES), width)
        self.types = nn.Linear(width, _N_TYPES)
        self.process = GaussianProcess(2 * FARTHEST + 1, RIGID)
        self.register_buffer("log_frequencies", torch.full((PLACES, _N_TYPES), -math.log(_N_TYPES)))

    @torch.no_grad()
    def prepare(
        self,
        windows: Iterable[tuple[TrajectoryBatch, Float[Tensor, "batch"]]],
        molecules: Sequence[Int[Tensor, "_residue"]],
        generator: torch.Generator,
    ) -> None:
        """Draw the weights, so that types are as frequent as they are; measure motions, count types at each place.

        Args:
            windows: batches with the place of each window's frame spacing in the range of the training.
            molecules: residue types of each training molecule.
            generator: random stream.
        """
        bound = math.sqrt(6.0 / sum(self.noisy.weight.shape))
        self.noisy.weight.uniform_(-bound, bound, generator=generator)
        self.told.weight.normal_(0.0, 0.3, generator=generator)
        self.types.weight.zero_()
        self.types.bias.zero_()
        counts = torch.full((PLACES, _N_TYPES), 0.5)  # a type that was never seen is rare, not impossible
        for types in molecules:
            for place in is_amino_acid(types).nonzero()[:, 0].tolist():
                counts[min(place, PLACES - 1), types[place] - AMINO_ACIDS.start] += 1
        self.log_frequencies.copy_((counts / counts.sum(1, keepdim=True)).log())
        motions, real, kinds, places = [], [], [], []
        for batch, place in windows:
            designed = draw_designed(batch.context, generator)
            rows = partly_known(batch.positions, batch.context, designed, torch.zeros_like(designed, dtype=torch.long))
            motions.append(rows.motion)
            real.append(rows.real)
            kinds.append(rows.kinds)
            places.append(place)
        n_tokens = max(each.shape[1] for each in real)
        motion = torch.cat([pad(each, (0, 0, 0, n_tokens - each.shape[2])) for each in motions])
        exists, kind = (torch.cat([pad(x, (0, n_tokens - x.shape[1])) for x in each]) for each in (real, kinds))
        self.process.fit(motion, exists[:, None, :, None].expand_as(motion), kind, torch.cat(places))

    def loss(self, trunk: Trunk, batch: TrajectoryBatch, generator: torch.Generator) -> Loss:
        """Mean square error of the velocities of residues drawn to be designed, and cross-entropy of their types."""
        types, n, device = types_of(batch.context), len(batch), generator.device
        designed = draw_designed(batch.context, generator)
        rows = partly_known(batch.positions, batch.context, designed, draw_told(batch.context, designed, generator))
        chance, time = torch.rand(2, n, generator=generator, device=device)
        time = torch.where(chance < UNMOVED, 0.0, time)
        white = torch.randn(rows.motion.shape, generator=generator, device=device)
        standard, noise, expected = self._start(trunk, rows, white)
        number = (types - AMINO_ACIDS.start).clamp(0, _N_TYPES - 1)
        corner = CORNER * one_hot(number, _N_TYPES).float()
        point = trunk.path.at(time, standard, noise)
        simplex = trunk.path.at(time, corner, torch.randn(corner.shape, generator=generator, device=device)).value
        conditioning = self._conditioning(trunk, rows, expected)
        added, log_p = self._predicted(trunk, rows, conditioning, point.value, simplex, time)
        predicted = trunk.path.gaussian_velocity(point.value, expected, time) + added
        free = designed[:, None, :, None].expand_as(added)
        of_motions = masked_mean((predicted - point.velocity).square(), free)
        asked = designed & (rows.told == 0)
        entropy = -log_p.gather(-1, number[..., None])[..., 0]
        of_types = (entropy * asked).sum() / asked.sum().clamp_min(1)
        return Loss(of_motions + of_types, {"motions": of_motions, "types": of_types})

    @torch.no_grad()
    def design(
        self,
        trunk: Trunk,
        positions: Float[Tensor, "batch frame atom 3"],
        context: Context,
        designed: Bool[Tensor, "token"],
        generator: torch.Generator,
        by: str,
        tell_types: bool,
    ) -> DesignedResidues:
        """Types of the designed residues of windows; the arguments are those of `interfaces.DesigningPropagator`.

        Raises:
            MdgenError: for residues that are none of the twenty amino acids, none or all of them, or another method.
        """
        types = types_of(context)
        if by not in METHODS:
            raise MdgenError(f"by={by}: expected one of {', '.join(METHODS)}")
        outside = (designed & ~is_amino_acid(types).all(0)).nonzero()[:, 0].tolist()
        if outside:
            raise MdgenError(f"token {outside[0]} is no amino acid but a cap; name it among the known tokens")
        if not designed.any() or designed.all():
            raise MdgenError("a design needs a residue that is known and one that is not; name other tokens")
        made, scores = [], []
        for some in torch.arange(len(positions)).split(max(1, DESIGNED_TOKENS // (positions.shape[1] * len(designed)))):
            part, here = trunk.rows(some), designed.to(positions.device).expand(len(some), -1)
            told = torch.where(here, 0, types[some] * tell_types)
            rows = partly_known(positions[some], context.rows(some), here, told)
            rows = replace(rows, motion=torch.where(rows.known, rows.motion, 0))
            drawn = self._flow(part, rows, generator) if by == "flow" else self._rejection(part, rows, generator)
            made.append(torch.where(here, drawn, types[some]))
            scores.append(self._score(part, rows, drawn))
        return DesignedResidues(torch.cat(made), torch.cat(scores), self._frequencies(len(designed)).exp())

    def _flow(self, trunk: Trunk, rows: PartlyKnown, generator: torch.Generator) -> Int[Tensor, "batch token"]:
        """Types of designed residues, drawn by the flow beside their motions."""
        shape, device = rows.motion.shape, generator.device
        white = torch.randn(shape, generator=generator, device=device)
        simplex_noise = torch.randn(*rows.told.shape, _N_TYPES, generator=generator, device=device)
        _, noise, expected = self._start(trunk, rows, white)
        conditioning = self._conditioning(trunk, rows, expected)
        free = rows.designed[:, None, :, None]
        size = math.prod(shape[1:])

        def velocity(value: Tensor, now: float) -> Tensor:
            motion, simplex = value[:, :size].view(shape), value[:, size:].view(simplex_noise.shape)
            time = torch.full((len(value),), now, device=device)
            added, log_p = self._predicted(trunk, rows, conditioning, motion, simplex, time)
            of_motion = (trunk.path.gaussian_velocity(motion, expected, time) + added) * free
            alpha, sigma = (each[:, None, None] for each in trunk.path.coefficients(time))
            d_alpha, d_sigma = (each[:, None, None] for each in trunk.path.derivatives(time))
            corner = CORNER * log_p.exp()
            of_simplex = d_alpha * corner + d_sigma * (simplex - alpha * corner) / sigma.clamp_min(_LEAST_NOISE)
            return torch.cat([of_motion.flatten(1), of_simplex.flatten(1)], 1)

        end = trunk.solve(velocity, torch.cat([(noise * free).flatten(1), simplex_noise.flatten(1)], 1))
        return end[:, size:].view(simplex_noise.shape).argmax(-1) + AMINO_ACIDS.start

    def _rejection(self, trunk: Trunk, rows: PartlyKnown, generator: torch.Generator) -> Int[Tensor, "batch token"]:
        """Types of designed residues, proposed by their frequencies and accepted by `_log_ratios`.

        By Bayes' rule `p(type | motion) / p(type) = p(motion | type) / p(motion)`: how many times better a candidate
        explains the known motion than no candidate does. The left side is what the network was trained to tell, at flow
        time 0; a density of whole motions, by the divergence of their flow, would be a small difference of large
        numbers. Residues are accepted one after another, each given those before it, so that no candidate is refused
        for the others.
        """
        frequencies = self._frequencies(rows.told.shape[1]).exp()
        for token in rows.designed[0].nonzero()[:, 0].tolist():
            ratio = self._log_ratios(trunk, rows)[:, token]
            accepted = (ratio - ratio.max(-1, keepdim=True).values).exp()

            def draw(some: Rows, token: int = token, accepted: Tensor = accepted) -> tuple[Tensor, Tensor]:
                chance = accepted[some]
                proposed = torch.multinomial(frequencies[token].expand_as(chance), 1, generator=generator)
                drawn = torch.rand(proposed.shape, generator=generator, device=proposed.device)
                return proposed[:, 0], (drawn > chance.gather(1, proposed))[:, 0]

            chosen, _ = rejection_sample(draw, MOST_PROPOSALS)
            rows = rows.telling(token, chosen + AMINO_ACIDS.start)
        return rows.told

    def _score(self, trunk: Trunk, rows: PartlyKnown, types: Int[Tensor, "batch token"]) -> Float[Tensor, "batch"]:
        """Logarithm of how many times likelier designed types are given the known motion than by their frequencies."""
        total = torch.zeros(len(types), device=types.device)
        for token in rows.designed[0].nonzero()[:, 0].tolist():
            ratio = self._log_ratios(trunk, rows)[:, token]
            total += ratio.gather(1, types[:, token, None] - AMINO_ACIDS.start)[:, 0]
            rows = rows.telling(token, types[:, token])
        return total

    def _log_ratios(self, trunk: Trunk, rows: PartlyKnown) -> Simplex:
        """Logarithm of the probability of each type, given what is known and told, over its frequency."""
        still = torch.zeros_like(rows.motion)
        conditioning = self._conditioning(trunk, rows, self._start(trunk, rows, still)[2])
        simplex = torch.zeros(*rows.told.shape, _N_TYPES, device=still.device)
        log_p = self._predicted(trunk, rows, conditioning, still, simplex, torch.zeros_like(trunk.spacing))[1]
        return log_p - self._frequencies(rows.told.shape[1])

    def _frequencies(self, n_tokens: int) -> Float[Tensor, "{n_tokens} type"]:
        """Logarithm of the frequencies at each place of a chain."""
        return self.log_frequencies[torch.arange(n_tokens, device=self.log_frequencies.device).clamp_max(PLACES - 1)]

    def _start(self, trunk: Trunk, rows: PartlyKnown, white: Motion) -> tuple[Motion, Motion, Motion]:
        """Standardised motions, the noise that the flow starts from, and what is expected given what is known."""
        standard = self.process.standardised(rows.motion, rows.kinds) * rows.real[:, None, :, None]
        known = rows.known.expand_as(white)
        return standard, *self.process.draw(white, standard, known, rows.kinds, trunk.spacing)

    def _conditioning(self, trunk: Trunk, rows: PartlyKnown, expected: Motion) -> Conditioning:
        """What the network makes of what is known: of no residue its type, unless it is told."""
        channels = trunk.network.noisy.in_features
        exists = rows.real[..., None] & (torch.arange(channels, device=expected.device) < RIGID)
        tokens = TokenContext(torch.zeros_like(rows.told), rows.real, exists, rows.key.rotations, rows.key.origins)
        values = pad(expected, (0, channels - RIGID))
        known = (rows.known & exists[:, None]).expand_as(values)
        made = trunk.network.condition(values, known, trunk.spacing, trunk.temperature, tokens)
        return replace(made, tokens=made.tokens + self.told(rows.told)[:, :, None])

    def _predicted(
        self,
        trunk: Trunk,
        rows: PartlyKnown,
        conditioning: Conditioning,
        motion: Motion,
        simplex: Simplex,
        time: Float[Tensor, "batch"],
    ) -> tuple[Motion, Simplex]:
        """What is added to the velocities of motions, and the logarithm of the probabilities of types.

        At flow time 0 the noise says nothing, so the network is not shown it.
        """
        moved, channels = (time > 0)[:, None, None], trunk.network.noisy.in_features
        simplex = torch.where(moved & (rows.designed & (rows.told == 0))[..., None], simplex, 0)
        motion = torch.where(moved[..., None] & rows.designed[:, None, :, None], motion, 0)
        shown = replace(conditioning, tokens=conditioning.tokens + self.noisy(simplex)[:, :, None])
        state = trunk.network.states(pad(motion, (0, channels - RIGID)), time, shown)
        alpha, sigma = (each[:, None, None] for each in trunk.path.coefficients(time))
        evidence = alpha * CORNER * simplex / sigma.clamp_min(_LEAST_NOISE).square()
        logits = self.types(state.mean(1)).float() + self._frequencies(motion.shape[2]) + evidence
        return trunk.network.added(state)[..., :RIGID].float(), logits.log_softmax(-1)
