"""Structures from frames near in the latent, noised in part and brought back to the data by a flow.

A frame drawn near in the latent carries what a network finds hard: which rotamers occur together and what touches what.
Noise added along a stochastic interpolant's path up to an early time, and the probability flow from there, make a new
structure of the same conditional distribution: where the flow is exact, nothing is biased, whatever the noise.
Source: Meng et al., SDEdit, arXiv:2108.01073 (2021), for the partial noise; Lipman et al., arXiv:2210.02747 (2022).
"""

import copy
import functools
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mdgen.errors import MdgenError
from mdgen.interfaces import Context, LatentSpace, Loss
from mdgen.models.batches import FrameBatch, TrainingData
from mdgen.models.decoders.contacts import Contacts
from mdgen.models.decoders.library_decoder import LibraryDecoder
from mdgen.models.decoders.representation import Conditions, Values
from mdgen.models.decoders.residue_network import ResidueNetwork
from mdgen.models.interpolant.solvers import SOLVERS
from mdgen.models.rejection_sampling import Rows, rejection_sample
from mdgen.molecule.topology import Molecule
from mdgen.registry import register, registered, resolve

REPRESENTATION = "mdgen.models.decoders.internal.InternalRepresentation"

BLOCK = 1024
"""Frames that are decoded at a time."""

CONTACT_FRAMES = 20_000
"""Frames that are decoded after the training to count what is packed too tightly."""

LARGEST_CORRECTION = 3.0
"""Largest norm of a correction, in standard deviations of values."""

DAMPING = 1e-3
"""Number added to the diagonal of J J^T, which is one where there is a gradient at all."""


@register
class NeighbourFlow(LibraryDecoder):
    """Decoder: a training frame near in the latent, noised in part, and the flow of a network from there to data.

    Structures are internal coordinates, one token a residue, so bonds, angles and chirality are right by construction.

    Args:
        latent: latent space of the encoder.
        representation: internal coordinates, fitted in `prepare` where None.
        encoder: encoder of the latent, by which structures are corrected; taken from the training data where None.
        n_library: training frames that are kept, at most.
        n_neighbours: nearest frames of the library, of which one is drawn (`neighbours.tilted_weights`).
        noise: share of noise at which the flow begins; 0 gives back frames of the library, 1 forgets them.
        torsion_scale: length of the unit circle of a free torsion, where stiff directions have standard deviation one:
            noise of share s spreads torsions by `s / (1 - s) / torsion_scale` radians.
        width: channels of the network.
        heads: attention heads.
        blocks: blocks of attention over residues.
        n_evaluations: evaluations of the network for a structure.
        corrections: Newton steps of least change towards the latent that was asked for, and away from overlaps; at most
            as many again for structures in which a pair of atoms is nearer than in any training frame.
        correction_share: share of the way to that latent from where the flow ends. Latents of a propagator lie beside
            the data by a little, the more the more modes there are, and torsions that are to meet them exactly are
            forced to where they never are; 1 for few modes.
        redraws: number of times that a structure which is packed tighter than the data may be drawn again; where frames
            remember, the second half of them begins from other frames.
        coherent_modes: as for `LibraryDecoder`.
        coherent_neighbours: as for `LibraryDecoder`.

    Raises:
        MdgenError: for a number out of range.
    """

    learns_from = "frames"
    training_defaults: ClassVar[dict[str, Any]] = {
        "optimizer": functools.partial(torch.optim.AdamW, lr=2e-3, weight_decay=0.0),
        "n_steps": 4500,
        "batch_size": 256,
        "average_decay": 0.998,
        "validation_share": 0.0,
    }
    representation: Any  # internal coordinates; a part names another's file through the registry alone
    library: Tensor
    _scale: Tensor
    latent_mean: Tensor
    latent_scale: Tensor

    def __init__(
        self,
        latent: LatentSpace,
        representation: nn.Module | None = None,
        encoder: nn.Module | None = None,
        n_library: int = 20_000,
        n_neighbours: int = 16,
        noise: float = 0.2,
        torsion_scale: float = 3.0,
        width: int = 96,
        heads: int = 4,
        blocks: int = 3,
        n_evaluations: int = 3,
        corrections: int = 3,
        correction_share: float = 1.0,
        redraws: int = 16,
        coherent_modes: int = 0,
        coherent_neighbours: int = 32,
    ) -> None:
        super().__init__(latent, n_neighbours, coherent_modes, coherent_neighbours)
        if latent.tokens == 0:
            raise MdgenError("a neighbour flow decodes slow modes; tokens of residues have the decoder se3_tokens")
        positive = {"heads": heads, "width": width, "n_evaluations": n_evaluations, "torsion_scale": torsion_scale}
        for name, value in positive.items():
            if value <= 0:
                raise MdgenError(f"{name} is {value}; it must be above 0")
        if not 0 < noise < 1:
            raise MdgenError(f"noise is {noise}; it must be between 0, the frames themselves, and 1, noise alone")
        if not 0 < correction_share <= 1:
            raise MdgenError(f"correction_share is {correction_share}; it must be above 0 and at most 1, all the way")
        if not 1 <= n_neighbours <= n_library:
            raise MdgenError(f"n_neighbours is {n_neighbours}; it must be between 1 and n_library, {n_library}")
        if width % (2 * heads):
            raise MdgenError(f"a width of {width} gives {heads} heads no even number of channels each; change one")
        self.n_library, self.noise = n_library, noise
        self.torsion_scale, self.size = torsion_scale, (width, heads, blocks)
        self.n_evaluations, self.corrections, self.redraws = n_evaluations, corrections, redraws
        self.correction_share = correction_share
        self.encoder = encoder
        if representation is not None:
            self._build(representation)
            self._keep(n_library)

    @property
    def molecule(self) -> Molecule:
        """Whose atoms are placed."""
        return self.representation.molecule

    def _build(self, representation: nn.Module) -> None:
        """Make what the representation decides the size of."""
        self.representation = representation
        n_conditions = self.latent.tokens * self.latent.channels
        scale = torch.ones(self.representation.n_values)
        scale[: 2 * self.representation.n_free] = self.torsion_scale
        self.register_buffer("_scale", scale, persistent=False)
        self.network = ResidueNetwork(self.representation.residues.tolist(), n_conditions, *self.size)
        self.contacts = Contacts(self.representation.molecule, deviations=2.0)
        self.register_buffer("latent_mean", torch.zeros(n_conditions))
        self.register_buffer("latent_scale", torch.ones(n_conditions))

    def _keep(self, n_library: int) -> None:
        """Make room for the library, in half precision: values are of order one."""
        self._make_room(n_library)
        self.register_buffer("library", torch.zeros(n_library, self.representation.n_values, dtype=torch.float16))

    @torch.no_grad()
    def prepare(self, data: TrainingData, generator: torch.Generator) -> TrainingData:
        """Fit the representation, draw the weights, and represent every frame once."""
        frames: FrameBatch = data.training
        self._features(data)  # what is missing is told before the training
        self._build(resolve(REPRESENTATION).fitted(data.molecule, frames.frames, by_residue=True))
        self.network.draw(generator)
        self.latent_mean.copy_(frames.latents.mean(0))
        self.latent_scale.copy_(frames.latents.std(0).clamp(min=1e-6))
        if isinstance(data.encoder, nn.Module) and type(data.encoder) in registered():
            self.encoder = copy.deepcopy(data.encoder).requires_grad_(False).eval()
        self.arguments |= {"representation": self.representation, "encoder": self.encoder}
        values = torch.cat([self.representation.represent(block) for block in frames.frames.split(10_000)])
        return replace(data, training=replace(frames, frames=values))

    @torch.no_grad()
    def finish(self, data: TrainingData, generator: torch.Generator) -> None:
        """Keep the library, and count what is packed too tightly."""
        frames: FrameBatch = data.training
        chosen = _spread(len(frames), self.n_library)
        self.arguments["n_library"] = len(chosen)
        self._keep(len(chosen))
        self.library.copy_(frames.frames[chosen])
        self._keep_neighbours(data, chosen)
        self.contacts.fit_edges(data.every.frames)
        some = frames.latents[_spread(len(frames), CONTACT_FRAMES)]
        decoded = self.decode(some.unflatten(1, (self.latent.tokens, -1))[:, None], frames.context, generator)
        self.contacts.fit(data.every.frames, decoded[:, 0])

    def loss(self, batch: FrameBatch, generator: torch.Generator) -> Loss:
        """Mean square error of the network's output, of which the velocity follows (`_velocity`).

        Flow times are drawn evenly from `1 - noise` to 1, the part of the path that decoding follows.
        """
        data = batch.frames * self._scale
        device = generator.device
        sigma = self.noise * torch.rand(len(data), 1, generator=generator, device=device)
        noise = torch.randn(data.shape, generator=generator, device=device)
        point = (1 - sigma) * data + sigma * noise
        skip, norm = self._coefficients(sigma)
        target = (data - noise - skip * point) / norm
        output = self.network(point, sigma[:, 0] / self.noise, self.conditions(batch.latents))
        return Loss((output - target).square().mean())

    def conditions(self, latents: Float[Tensor, "batch channel"]) -> Conditions:
        """Latents as the network sees them: standardised."""
        return (latents - self.latent_mean) / self.latent_scale

    @torch.no_grad()
    def decode(
        self, latent: Float[Tensor, "batch frame token channel"], context: Context, generator: torch.Generator
    ) -> Float[Tensor, "batch frame atom 3"]:
        """A structure for every frame, in nm; frames share no noise."""
        chosen = self.choose(latent, context, generator) if self.remembers else None
        return self.decode_chosen(latent, chosen, context, generator)

    @torch.no_grad()
    def decode_chosen(
        self,
        latent: Float[Tensor, "batch frame token channel"],
        chosen: Int[Tensor, "batch frame"] | None,
        context: Context,
        generator: torch.Generator,
    ) -> Float[Tensor, "batch frame atom 3"]:
        """A structure for every frame, begun from these frames of the library or from one drawn with each structure."""
        latents, begun = latent.flatten(0, 1).flatten(1), None if chosen is None else chosen.flatten()
        tries = self.redraws if begun is None else self.redraws // 2
        positions, refused = rejection_sample(functools.partial(self._draw, latents, begun, generator), tries)
        rows = refused.nonzero()[:, 0]
        if self.redraws > tries and len(rows):  # the frame that it was to begin from does not fit this latent
            draw = functools.partial(self._draw, latents[rows], None, generator)
            positions[rows] = rejection_sample(draw, self.redraws - tries)[0]
        return positions.unflatten(0, latent.shape[:2])

    @torch.no_grad()
    def library_structures(self) -> Float[Tensor, "frame atom 3"]:
        """The training frames that are kept, in nm."""
        return torch.cat([self.representation.build(block.float()) for block in self.library.split(BLOCK)])

    def _draw(
        self,
        latents: Float[Tensor, "batch channel"],
        begun: Int[Tensor, "batch"] | None,
        generator: torch.Generator,
        rows: Rows,
    ) -> tuple[Tensor, Tensor]:
        """A structure for some rows of the latents, and whether each is refused."""
        latents = latents[rows]
        near = self.neighbours.draw(latents, self.n_neighbours, generator) if begun is None else begun[rows]
        blocks = zip(latents.split(BLOCK), near.split(BLOCK), strict=True)
        positions = torch.cat([self._structures(some, nearest, generator) for some, nearest in blocks])
        return positions, self.contacts.rejected(positions, generator)

    def _structures(
        self, latents: Float[Tensor, "batch channel"], near: Int[Tensor, "batch"], generator: torch.Generator
    ) -> Float[Tensor, "batch atom 3"]:
        """A structure for each latent, from a frame of the library."""
        start = self.library[near].float() * self._scale
        noise = torch.randn(start.shape, generator=generator, device=start.device)
        point = torch.lerp(start, noise, self.noise)
        conditions = self.conditions(latents)
        times = [1 - self.noise * (1 - step / self.n_evaluations) for step in range(self.n_evaluations + 1)]
        flow = functools.partial(self._velocity, conditions=conditions)
        values = self._projected(SOLVERS["adams_bashforth"](flow, point, times))
        if self.encoder is not None and self.correction_share < 1:
            latents = torch.lerp(
                self._encoded(self.representation.build(values / self._scale)), latents, self.correction_share
            )
        for _ in range(self.corrections):
            values = self._corrected(values, latents)
        built: Tensor = self.representation.build(values / self._scale)
        for _ in range(self.corrections):
            rows = self.contacts.unseen(built).nonzero()[:, 0]
            if not len(rows):
                break
            values[rows] = self._corrected(values[rows], latents[rows])
            built[rows] = self.representation.build(values[rows] / self._scale)
        return built

    def _encoded(self, positions: Float[Tensor, "batch atom 3"]) -> Float[Tensor, "batch channel"]:
        found: Tensor = self.encoder.encode(positions, Context()).flatten(1)  # type: ignore[union-attr, operator]
        return found

    def _velocity(self, point: Values, time: float, conditions: Conditions) -> Values:
        sigma = torch.full((len(point), 1), 1 - time, device=point.device)
        skip, norm = self._coefficients(sigma)
        return skip * point + norm * self.network(point, sigma[:, 0] / self.noise, conditions)

    def _coefficients(self, sigma: Float[Tensor, "batch 1"]) -> tuple[Tensor, Tensor]:
        """`skip` and `norm` of `velocity = skip * point + norm * output`.

        For data of standard deviation d the output to be learnt then has variance one at every time (Karras et al.,
        arXiv:2206.00364, 2022), here with a velocity that stays finite where the noise ends.
        """
        variance, alpha = self._scale.square(), 1 - sigma
        total = variance * alpha.square() + sigma.square()
        return (variance * alpha - sigma) / total, self._scale / total.sqrt()

    def _projected(self, values: Values) -> Values:
        return self.representation.project(values / self._scale) * self._scale

    def _corrected(self, values: Values, latents: Float[Tensor, "batch channel"]) -> Values:
        """Values after the least change that brings the structure to its latent and its atoms apart, to first order.

        `J^T (J J^T)^-1 r`, where the rows of J are the gradients of the encoded latent and of the atoms' overlap
        (`Contacts.overlap`), each over its norm, and r what each lacks of its target over the same norm.
        """
        coordinates = values / self._scale
        positions = self.representation.build(coordinates)
        with torch.enable_grad():
            moved = positions.detach().requires_grad_()
            lacking = [-self.contacts.overlap(moved)]
            if self.encoder is not None:
                lacking += (latents - self._encoded(moved)).unbind(1)
            rows = [-torch.autograd.grad(each.sum(), moved, retain_graph=True)[0] for each in lacking]
        jacobian = self.representation.gradient(coordinates, positions, torch.stack(rows, 1)) / self._scale
        norms = jacobian.norm(dim=-1).clamp(min=1e-9)
        jacobian = jacobian / norms[..., None]
        gram = jacobian @ jacobian.mT + DAMPING * torch.eye(len(rows), device=norms.device)
        steps = torch.stack(lacking, 1).detach() / norms
        change = (jacobian.mT @ torch.linalg.solve(gram, steps[..., None]))[..., 0]
        norm = change.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        return self._projected(values + change * (LARGEST_CORRECTION / norm).clamp(max=1.0))


def _spread(total: int, most: int) -> Int[Tensor, "row"]:
    """Rows spread evenly, at most so many."""
    return torch.linspace(0, total - 1, min(total, most), dtype=torch.float64).round().long()
