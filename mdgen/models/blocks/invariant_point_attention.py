"""Attention between rigid frames that depends on their geometry alone, not on where the molecule is.

Source: Jumper et al., Nature 596, 583 (2021), supplementary algorithm 22, without a pair representation.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn


class InvariantPointAttention(nn.Module):
    """Tokens attend to tokens by their channels and by points that each places in its own frame.

    Args:
        width: channels of a token.
        heads: attention heads.
        head_width: channels of a query and a key.
        query_points: points of a query and a key.
        value_points: points of a value.
    """

    def __init__(
        self, width: int, heads: int = 4, head_width: int = 32, query_points: int = 8, value_points: int = 8
    ) -> None:
        super().__init__()
        self.heads, self.query_points, self.value_points = heads, query_points, value_points
        self.channels = nn.Linear(width, 3 * heads * head_width)
        self.points = nn.Linear(width, heads * (2 * query_points + value_points) * 3)
        self.point_weight = nn.Parameter(torch.full((heads,), 0.5413))  # softplus gives one
        self.outputs = nn.Linear(heads * (head_width + 4 * value_points), width)

    def forward(
        self,
        x: Float[Tensor, "batch token channel"],
        rotations: Float[Tensor, "batch token 3 3"],
        origins: Float[Tensor, "batch token 3"],
        mask: Bool[Tensor, "batch token"],
    ) -> Float[Tensor, "batch token channel"]:
        """What each token gathers; lengths in nm.

        Args:
            x: tokens.
            rotations: orientation of each token's frame.
            origins: origin of each token's frame.
            mask: whether a token is real; others are not attended to.
        """
        query, key, value = rearrange(self.channels(x), "b l (n h c) -> n b h l c", n=3, h=self.heads)
        local = rearrange(self.points(x), "b l (h p x) -> b l (h p) x", h=self.heads, x=3)
        placed = torch.einsum("blij,blpj->blpi", rotations, local) + origins[:, :, None]
        placed = rearrange(placed, "b l (h p) x -> b h l p x", h=self.heads)
        query_at, key_at, value_at = placed.split([self.query_points, self.query_points, self.value_points], 3)
        distance = (query_at[:, :, :, None] - key_at[:, :, None]).square().sum((-1, -2))
        # Each kind of score has about unit variance before the two are added: the weights of the source.
        by_channel = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        by_point = -0.5 * (9 * self.query_points / 2) ** -0.5 * distance
        weight = nn.functional.softplus(self.point_weight)[:, None, None]
        scores = 0.5**0.5 * (by_channel + weight * by_point)
        attention = scores.masked_fill(~mask[:, None, None, :], -torch.inf).softmax(-1)
        gathered = rearrange(attention @ value, "b h l c -> b l (h c)")
        seen = torch.einsum("bhij,bhjpx->bihpx", attention, value_at) - origins[:, :, None, None]
        seen = torch.einsum("blji,blhpj->blhpi", rotations, seen)  # back into each token's own frame
        length = (seen.square().sum(-1) + 1e-8).sqrt()
        return self.outputs(torch.cat([gathered, seen.flatten(2), length.flatten(2)], -1))
