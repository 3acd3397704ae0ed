"""The network of velocities: a transformer over the tokens of all frames of a trajectory.

Source: Jing, Staerk, Jaakkola and Berger, "Generative modeling of molecular dynamics trajectories" (NeurIPS 2024).
What does not change along the flow (key frames, known values) is computed once a trajectory.
"""

import math
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mdgen.errors import MdgenError
from mdgen.models.blocks.rotary import turns
from mdgen.models.blocks.se3_tokens import COSINES, SINES, TORSION_HARMONICS
from mdgen.models.blocks.time_mixer import OscillatorMixer
from mdgen.models.blocks.trajectory_blocks import (
    AdaptiveNorm,
    Embedding,
    KeyFrameBlock,
    Places,
    Tokens,
    TrajectoryBlock,
    modulated,
)
from mdgen.molecule.residues import RESIDUE_TYPES

TIME_MIXERS = ("attention", "oscillators")
HARMONICS = 64
"""Sines and cosines of a number that is embedded."""

HEAD_WIDTH = 32
"""Channels within the head of a torsion."""

CACHED_TOKENS = 1536
"""Tokens that a processor evaluates at once where no gradient is asked for: so many stay in its cache from layer to
layer, and their memory is used again instead of being mapped anew. It makes large batches a fifth faster at a width of
96, and changes nothing at 64."""


@dataclass(frozen=True)
class TokenContext:
    """What is known of tokens before any trajectory; None for latents without residues.

    Args:
        residue_types: index into `RESIDUE_TYPES`.
        mask: whether a token is real rather than padding.
        channel_mask: whether a channel exists.
        rotations: orientation of each token's frame in the key structure.
        origins: origin of each token's frame in the key structure, nm.
    """

    residue_types: Int[Tensor, "batch token"]
    mask: Bool[Tensor, "batch token"]
    channel_mask: Bool[Tensor, "batch token channel"]
    rotations: Float[Tensor, "batch token 3 3"]
    origins: Float[Tensor, "batch token 3"]


@dataclass(frozen=True)
class Conditioning:
    """What a network makes of all that is known, once a trajectory.

    Args:
        tokens: sum of what is known of each token of each frame.
        embedding: frame spacing and temperature.
        places: positions and mask for attention.
    """

    tokens: Tokens
    embedding: Embedding
    places: Places

    def rows(self, chosen: slice) -> "Conditioning":
        """That of some rows."""
        mask = self.places.token_mask
        places = replace(self.places, token_mask=None if mask is None else mask[chosen])
        return Conditioning(self.tokens[chosen], self.embedding[chosen], places)


class VelocityNetwork(nn.Module):
    """What is added to the Gaussian velocities of noisy latents (`Path.gaussian_velocity`), given what is known.

    Args:
        channels: channels of a token.
        tokens: tokens of a frame; 0 for one a residue, with key frames.
        width: channels within the network.
        heads: attention heads.
        blocks: blocks over trajectories.
        key_frame_blocks: blocks over the key frame; used where there is one token a residue.
        expansion: width of feed-forward layers over that of the network.
        torsions: torsions of a token, each with a head that is told its own harmonics; channels hold their sines and
            cosines where `blocks.se3_tokens` has them.
        time_mixer: one of `TIME_MIXERS`.
        checkpoint_blocks: whether blocks are computed again for gradients: less memory, a third more time.

    Raises:
        MdgenError: for a width that the heads do not divide into even parts, or an unknown mixer.
    """

    def __init__(
        self,
        channels: int,
        tokens: int,
        width: int,
        heads: int,
        blocks: int,
        key_frame_blocks: int,
        expansion: int = 4,
        torsions: int = 0,
        time_mixer: str = "attention",
        checkpoint_blocks: bool = False,
    ) -> None:
        super().__init__()
        if width % (2 * heads):
            raise MdgenError(f"a width of {width} gives {heads} heads no even number of channels each; change one")
        if time_mixer not in TIME_MIXERS:
            raise MdgenError(f"time_mixer={time_mixer}: expected one of {', '.join(TIME_MIXERS)}")
        self.head_width, self.checkpoint_blocks = width // heads, checkpoint_blocks
        self.noisy = nn.Linear(channels, width)
        self.known = nn.Linear(2 * channels, width)
        if tokens:
            self.token = nn.Embedding(tokens, width)
            self.existing, self.key_frame_blocks = None, nn.ModuleList()
        else:
            self.token = nn.Embedding(len(RESIDUE_TYPES), width)
            self.existing = nn.Linear(channels, width)
            self.key_frame_blocks = nn.ModuleList(
                KeyFrameBlock(width, heads, expansion) for _ in range(key_frame_blocks)
            )
        self.flow_time, self.spacing, self.temperature = (_ScalarEmbedding(width) for _ in range(3))
        self.blocks = nn.ModuleList(
            TrajectoryBlock(width, heads, expansion, tokens != 1, time_mixer) for _ in range(blocks)
        )
        self.last_norm = nn.Linear(width, 2 * width)
        self.added = nn.Linear(width, channels)  # the name tells files of networks of whole velocities apart
        self.torsion_head = _TorsionHead(width, torsions) if torsions else None

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """Draw the weights; gates and the last layer start at zero, so it adds nothing."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                bound = math.sqrt(6.0 / (module.in_features + module.out_features))
                module.weight.uniform_(-bound, bound, generator=generator)
                module.bias.zero_()
            elif isinstance(module, nn.Embedding):
                module.weight.normal_(0.0, 0.02, generator=generator)
            elif isinstance(module, OscillatorMixer):
                module.draw(generator)
        for module in self.modules():
            if isinstance(module, AdaptiveNorm):
                module.projection.weight.zero_()
        for last in (self.last_norm, self.added, *([self.torsion_head.out] if self.torsion_head is not None else [])):
            last.weight.zero_()

    def condition(
        self,
        values: Float[Tensor, "batch frame token channel"],
        known: Bool[Tensor, "batch frame token channel"],
        spacing: Float[Tensor, "batch"],
        temperature: Float[Tensor, "batch"],
        token_context: TokenContext | None = None,
    ) -> Conditioning:
        """What is made of all that is known, once a trajectory.

        Args:
            values: latents, standardised: what is known, and what is expected of the rest.
            known: which are.
            spacing: logarithm of the frame spacing, from 0 to 1 over the range of the training.
            temperature: likewise.
            token_context: residues and key frames of latents with one token a residue.
        """
        n_frames, n_tokens = values.shape[1:3]
        device = values.device
        embedding = self.spacing(spacing) + self.temperature(temperature)
        token_mask = None if token_context is None or bool(token_context.mask.all()) else token_context.mask
        places = Places(turns(n_tokens, self.head_width, device), turns(n_frames, self.head_width, device), token_mask)
        if token_context is None:
            fixed = self.token.weight[None, :, None]
        else:
            assert self.existing is not None
            fixed = self.token(token_context.residue_types) + self.existing(token_context.channel_mask.float())
            fixed = fixed[:, :, None]
            active = nn.functional.silu(embedding)
            for block in self.key_frame_blocks:
                frames = token_context.rotations, token_context.origins, token_context.mask
                fixed = block(fixed, active, places, *frames)
        told = torch.cat([values, known.to(values.dtype)], -1)
        return Conditioning(self.known(rearrange(told, "b t l c -> b l t c")) + fixed, embedding, places)

    def forward(
        self,
        noisy: Float[Tensor, "batch frame token channel"],
        time: Float[Tensor, "batch"],
        conditioning: Conditioning,
        harmonics: Float[Tensor, "batch frame token torsion harmonic"] | None = None,
    ) -> Float[Tensor, "batch frame token channel"]:
        """What is added to the Gaussian velocity at a flow time.

        Args:
            noisy: latents along the path, zero where they are known or do not exist.
            time: flow time from 0 (noise) to 1 (data).
            conditioning: what `condition` returned.
            harmonics: those of the noisy torsions (`blocks.se3_tokens.torsion_harmonics`), where torsions have heads.
        """
        n_rows, size = len(noisy), max(1, CACHED_TOKENS // max(1, noisy[0, ..., 0].numel()))
        if n_rows <= size or noisy.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._velocity(noisy, time, conditioning, harmonics)
        parts = [slice(begin, begin + size) for begin in range(0, n_rows, size)]
        told = [None if harmonics is None else harmonics[i] for i in parts]
        made = (self._velocity(noisy[i], time[i], conditioning.rows(i), t) for i, t in zip(parts, told, strict=True))
        return torch.cat(list(made))

    def states(
        self,
        noisy: Float[Tensor, "batch frame token channel"],
        time: Float[Tensor, "batch"],
        conditioning: Conditioning,
    ) -> Float[Tensor, "batch frame token width"]:
        """Channels of the last block, of which the heads make velocities; arguments as of `forward`."""
        embedding = conditioning.embedding + self.flow_time(time)
        active = nn.functional.silu(embedding)
        x = self.noisy(rearrange(noisy, "b t l c -> b l t c")) + conditioning.tokens
        for block in self.blocks:
            if self.checkpoint_blocks and torch.is_grad_enabled():
                x = checkpoint(block, x, active, conditioning.places, use_reentrant=False)
            else:
                x = block(x, active, conditioning.places)
        shift, scale = rearrange(self.last_norm(active), "b (n c) -> n b 1 1 c", n=2)
        return rearrange(modulated(x, shift, 1 + scale), "b l t c -> b t l c")

    def _velocity(self, noisy: Tensor, time: Tensor, conditioning: Conditioning, harmonics: Tensor | None) -> Tensor:
        x = self.states(noisy, time, conditioning)
        added = self.added(x).float()
        if self.torsion_head is None:
            return added
        assert harmonics is not None
        sine, cosine = self.torsion_head(x, harmonics).float().unbind(-1)
        of_torsions = torch.cat([sine, cosine], -1) + added[..., SINES.start : COSINES.stop]
        return torch.cat([added[..., : SINES.start], of_torsions, added[..., COSINES.stop :]], -1)


class _TorsionHead(nn.Module):
    """Velocities of sines and cosines of torsions, each from harmonics of its own and what was made of its token.

    Wells of methyl groups, and of much of side chains, are a function of one angle in which other channels have no
    part. A network whose channels share its width learns what they have in common first, and after an hour of training
    had not begun with these.
    """

    def __init__(self, width: int, torsions: int) -> None:
        super().__init__()
        self.torsions = torsions
        self.state = nn.Linear(width, torsions * HEAD_WIDTH)
        self.harmonics = nn.Linear(TORSION_HARMONICS, HEAD_WIDTH)
        self.out = nn.Linear(HEAD_WIDTH, 2)

    def forward(
        self,
        state: Float[Tensor, "batch frame token width"],
        harmonics: Float[Tensor, "batch frame token torsion harmonic"],
    ) -> Float[Tensor, "batch frame token torsion 2"]:
        state = rearrange(self.state(state), "b t l (s c) -> b t l s c", s=self.torsions)
        return self.out(nn.functional.silu(state + self.harmonics(harmonics)))


class _ScalarEmbedding(nn.Module):
    """Sines and cosines of a number from 0 to 1, through two layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * HARMONICS, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, value: Float[Tensor, "batch"]) -> Embedding:
        frequencies = torch.logspace(0.0, 3.0, HARMONICS, device=value.device)
        angles = value[:, None] * frequencies
        return self.layers(torch.cat([angles.cos(), angles.sin()], -1))
