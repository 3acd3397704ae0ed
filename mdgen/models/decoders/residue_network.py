"""A network over the values of a structure, one token a residue, with attention between residues."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.models.blocks.perceptron import perceptron
from mdgen.models.blocks.rotary import turns
from mdgen.models.blocks.trajectory_blocks import (
    AdaptiveNorm,
    Embedding,
    Places,
    SelfAttention,
    Tokens,
    feed_forward,
    modulated,
)
from mdgen.models.decoders.representation import Conditions, Values

HARMONICS = 8
"""Sines and cosines of the flow time."""


class ResidueNetwork(nn.Module):
    """Values at a flow time to as many outputs, given conditions of the whole structure.

    Each residue has layers of its own into and out of its token, since its values mean other things than its
    neighbour's; blocks of attention and feed-forward layers under adaptive norm are shared.

    Args:
        residues: number of the residue of each value.
        n_conditions: conditions of a structure.
        width: channels of a token.
        heads: attention heads; their width must be even.
        blocks: blocks.
    """

    _values: Tensor
    _place: Tensor

    def __init__(self, residues: Sequence[int], n_conditions: int, width: int, heads: int, blocks: int) -> None:
        super().__init__()
        tokens = [[value for value, owner in enumerate(residues) if owner == token] for token in sorted(set(residues))]
        most = max(map(len, tokens))
        # the place after the last value holds a zero, which fills up tokens of fewer values
        padded = torch.tensor([token + [len(residues)] * (most - len(token)) for token in tokens])
        places = torch.arange(padded.numel()).view_as(padded)
        self.register_buffer("_values", padded, persistent=False)
        self.register_buffer("_place", places.flatten()[padded.flatten().argsort()[: len(residues)]], persistent=False)
        self.head_width = width // heads
        self.into = nn.Parameter(torch.empty(len(tokens), most, width))
        self.token = nn.Parameter(torch.empty(len(tokens), width))
        self.condition = perceptron(n_conditions + 2 * HARMONICS, [width], width, "swish")
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(blocks))
        self.last_norm = nn.Linear(width, 2 * width)
        self.out = nn.Parameter(torch.empty(len(tokens), width, most))

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """Draw the weights; gates and the last layer start at zero, so all outputs do."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                bound = math.sqrt(6.0 / (layer.in_features + layer.out_features))
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.zero_()
        self.into.normal_(0.0, self.into.shape[1] ** -0.5, generator=generator)
        self.token.normal_(0.0, 0.5, generator=generator)
        for module in self.modules():
            if isinstance(module, AdaptiveNorm):
                module.projection.weight.zero_()
        self.last_norm.weight.zero_()
        self.out.zero_()

    def forward(self, values: Values, time: Float[Tensor, "batch"], conditions: Conditions) -> Values:
        """The outputs.

        Args:
            values: values of each structure.
            time: flow time, from 0 to 1.
            conditions: conditions of each structure.
        """
        angles = time[:, None] * (torch.pi * torch.arange(1, HARMONICS + 1, device=time.device))
        embedding = nn.functional.silu(self.condition(torch.cat([conditions, angles.sin(), angles.cos()], -1)))
        padded = nn.functional.pad(values, (0, 1))[:, self._values]
        x = (torch.einsum("btc,tcw->btw", padded, self.into) + self.token)[:, :, None]
        turn = turns(len(self.token), self.head_width, x.device)
        places = Places(turn, turn[:1])
        for block in self.blocks:
            x = block(x, embedding, places)
        shift, scale = self.last_norm(embedding)[:, None, None].chunk(2, -1)
        outputs = torch.einsum("btw,twc->btc", modulated(x, shift, 1 + scale)[:, :, 0], self.out)
        return outputs.flatten(1)[:, self._place]


class _Block(nn.Module):
    """Attention over residues and a feed-forward layer, each under adaptive norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = AdaptiveNorm(width, 2)
        self.attention = SelfAttention(width, heads)
        self.feed_forward = feed_forward(width, 4)

    def forward(self, x: Tokens, embedding: Embedding, places: Places) -> Tokens:
        (shift, scale, gate), last = self.norm(embedding)
        x = torch.addcmul(x, gate, self.attention.over_tokens(modulated(x, shift, scale), places))
        shift, scale, gate = last
        return torch.addcmul(x, gate, self.feed_forward(modulated(x, shift, scale)))
