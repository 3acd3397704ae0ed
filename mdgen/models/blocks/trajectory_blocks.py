"""Blocks over trajectories of tokens: attention over tokens, mixing over time, feed-forward, under adaptive norm.

Within blocks a trajectory is `(batch, token, frame, channel)`, so that attention over time reads memory in its order.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Complex, Float
from torch import Tensor, nn
from torch.nn.functional import layer_norm, scaled_dot_product_attention

from mdgen.models.blocks.invariant_point_attention import InvariantPointAttention
from mdgen.models.blocks.rotary import rotate
from mdgen.models.blocks.time_mixer import OscillatorMixer

Tokens = Float[Tensor, "batch token frame channel"]
Embedding = Float[Tensor, "batch channel"]


@dataclass(frozen=True)
class Places:
    """Where tokens and frames are, for attention.

    Args:
        token_turns: rotary positions of tokens.
        frame_turns: rotary positions of frames.
        token_mask: whether a token is real; None where all are.
    """

    token_turns: Complex[Tensor, "_token pair"]
    frame_turns: Complex[Tensor, "_frame pair"]
    token_mask: Bool[Tensor, "batch token"] | None = None


class SelfAttention(nn.Module):
    """Fused attention with rotary positions.

    Args:
        width: channels.
        heads: attention heads; their width must be even.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inputs = nn.Linear(width, 3 * width)
        self.outputs = nn.Linear(width, width)

    def over_frames(self, x: Tokens, places: Places) -> Tokens:
        """Each token attends to itself at all times."""
        heads = self._heads(x, places.frame_turns[:, None, None])
        query, key, value = (rearrange(each, "b l t h c -> (b l) h t c") for each in heads)
        gathered = scaled_dot_product_attention(query, key, value)
        return self.outputs(rearrange(gathered, "(b l) h t c -> b l t (h c)", b=len(x)))

    def over_tokens(self, x: Tokens, places: Places) -> Tokens:
        """Each token attends to all real ones of its frame."""
        heads = self._heads(x, places.token_turns[:, None, None, None])
        query, key, value = (rearrange(each, "b l t h c -> (b t) h l c") for each in heads)
        mask = None
        if places.token_mask is not None:
            mask = places.token_mask[:, None, None, None].expand(-1, x.shape[2], -1, -1, -1).flatten(0, 1)
        gathered = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.outputs(rearrange(gathered, "(b t) h l c -> b l t (h c)", b=len(x)))

    def _heads(self, x: Tokens, turn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values `(batch, token, frame, head, channel)`, the first two turned."""
        joined = rearrange(self.inputs(x), "b l t (n h c) -> b l t n h c", n=3, h=self.heads)
        turned = rotate(joined[:, :, :, :2], turn)
        return turned[:, :, :, 0], turned[:, :, :, 1], joined[:, :, :, 2]


def feed_forward(width: int, expansion: int) -> nn.Sequential:
    """Two layers with a wider one between."""
    return nn.Sequential(nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width))


class AdaptiveNorm(nn.Module):
    """Layer norms whose shift and scale, and gates of what follows them, are functions of an embedding.

    Starts with all gates closed, so a block starts as the identity.
    Source: Peebles and Xie, arXiv 2212.09748 (2022), adaLN-Zero.

    Args:
        width: channels.
        n_layers: layers that are normed and gated.
    """

    def __init__(self, width: int, n_layers: int) -> None:
        super().__init__()
        self.n_layers = n_layers
        self.projection = nn.Linear(width, 3 * n_layers * width)

    def forward(self, embedding: Embedding) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Shift, scale and gate of each layer, `(batch, 1, 1, channel)`."""
        parts = rearrange(self.projection(embedding), "b (n c) -> n b 1 1 c", n=3 * self.n_layers)
        return [(parts[i], 1 + parts[i + 1], parts[i + 2]) for i in range(0, len(parts), 3)]


def modulated(x: Tokens, shift: Tensor, scale: Tensor) -> Tokens:
    """A layer norm with the shift and scale of each row of the batch."""
    return torch.addcmul(shift, layer_norm(x, x.shape[-1:]), scale)


class TrajectoryBlock(nn.Module):
    """Attention over tokens, mixing over time, feed-forward; each under adaptive norm.

    Args:
        width: channels.
        heads: attention heads.
        expansion: width of the feed-forward layer over that of the tokens.
        across_tokens: whether there is more than one token to attend to.
        time_mixer: `attention`, or `oscillators`, whose cost grows as n log n with the frames.
    """

    def __init__(self, width: int, heads: int, expansion: int, across_tokens: bool, time_mixer: str) -> None:
        super().__init__()
        self.norm = AdaptiveNorm(width, 3 if across_tokens else 2)
        self.over_tokens = SelfAttention(width, heads) if across_tokens else None
        self.over_time = SelfAttention(width, heads) if time_mixer == "attention" else OscillatorMixer(width)
        self.feed_forward = feed_forward(width, expansion)

    def forward(self, x: Tokens, embedding: Embedding, places: Places) -> Tokens:
        """The tokens after the block."""
        *across, (shift, scale, gate), last = self.norm(embedding)
        if self.over_tokens is not None:
            ((token_shift, token_scale, token_gate),) = across
            gathered = self.over_tokens.over_tokens(modulated(x, token_shift, token_scale), places)
            x = torch.addcmul(x, token_gate, gathered)
        normed, mixer = modulated(x, shift, scale), self.over_time
        mixed = mixer.over_frames(normed, places) if isinstance(mixer, SelfAttention) else mixer(normed)
        x = torch.addcmul(x, gate, mixed)
        shift, scale, gate = last
        return torch.addcmul(x, gate, self.feed_forward(modulated(x, shift, scale)))


class KeyFrameBlock(nn.Module):
    """Invariant point attention between the frames of the key structure, attention over tokens, feed-forward.

    Args:
        width: channels.
        heads: heads of the attention over tokens.
        expansion: width of the feed-forward layer over that of the tokens.
    """

    def __init__(self, width: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.point_norm = nn.LayerNorm(width)
        self.points = InvariantPointAttention(width)
        self.norm = AdaptiveNorm(width, 2)
        self.over_tokens = SelfAttention(width, heads)
        self.feed_forward = feed_forward(width, expansion)

    def forward(
        self, x: Tokens, embedding: Embedding, places: Places, rotations: Tensor, origins: Tensor, mask: Tensor
    ) -> Tokens:
        """The tokens `(batch, token, 1, channel)` after the block."""
        x = x + self.points(self.point_norm(x[:, :, 0]), rotations, origins, mask)[:, :, None]
        (shift, scale, gate), last = self.norm(embedding)
        x = torch.addcmul(x, gate, self.over_tokens.over_tokens(modulated(x, shift, scale), places))
        shift, scale, gate = last
        return torch.addcmul(x, gate, self.feed_forward(modulated(x, shift, scale)))
