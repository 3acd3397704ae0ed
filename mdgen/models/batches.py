"""What a loss is given: pairs of frames one lag apart, as indices into a table of frames."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class PairBatch:
    """Lagged pairs over a table of frames.

    A frame that is the end of one pair and the start of the next stands in the table once, so a network sees it once.
    `weights` counts pairs: a batch that holds each distinct pair once, weighted by how often it occurs, has the same
    loss as the batch that lists every occurrence.

    Args:
        frames: what is known of each frame: features, or a latent.
        now: row of the first frame of each pair.
        later: row of the frame one lag on.
        weights: how often each pair counts; once where None.
    """

    frames: Float[Tensor, "frame channel"]
    now: Int[Tensor, "pair"]
    later: Int[Tensor, "pair"]
    weights: Float[Tensor, "pair"] | None = None

    def share(self, dtype: torch.dtype) -> Float[Tensor, "pair"]:
        """The weight of each pair as a share of the whole."""
        if self.weights is None:
            return torch.full(self.now.shape, 1.0 / len(self.now), dtype=dtype, device=self.frames.device)
        return (self.weights / self.weights.sum()).to(dtype)

    def both_directions(self) -> "PairBatch":
        """Every pair forwards and backwards: for dynamics that is reversible."""
        weights = None if self.weights is None else torch.cat([self.weights, self.weights])
        return PairBatch(self.frames, torch.cat([self.now, self.later]), torch.cat([self.later, self.now]), weights)

    def to(self, device: torch.device) -> "PairBatch":
        """The same pairs on a device."""
        weights = None if self.weights is None else self.weights.to(device)
        return PairBatch(self.frames.to(device), self.now.to(device), self.later.to(device), weights)


@dataclass(frozen=True)
class DecoderBatch:
    """Structures, as a decoder represents them, and the latent of each.

    Args:
        values: the represented structures.
        latents: the latent of each, tokens and channels in one axis.
    """

    values: Float[Tensor, "batch value"]
    latents: Float[Tensor, "batch channel"]

    def to(self, device: torch.device) -> "DecoderBatch":
        """The same batch on a device."""
        return DecoderBatch(self.values.to(device), self.latents.to(device))
