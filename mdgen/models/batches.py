"""What parts learn from: lagged pairs, frames with latents, and windows of latents, each with its `Context`."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.interfaces import Condition, Context, Encoder
from mdgen.molecule.topology import Molecule


@dataclass(frozen=True)
class TrainingData:
    """All that a part is trained on.

    Args:
        every: all of the data; of `trajectory_windows` the loader of the training windows.
        training: part of the data whose batches are descended on; all where None.
        validation: part of the data that was kept back; None without one.
        molecule: molecule of all frames; None for data of none or of several.
        encoder: encoder that made the latents; None where there are none.
    """

    every: Any
    training: Any = None
    validation: Any = None
    molecule: Molecule | None = None
    encoder: Encoder | None = None

    def __post_init__(self) -> None:
        if self.training is None:
            object.__setattr__(self, "training", self.every)


class _Batch:
    def to(self, device: torch.device) -> Any:
        """The same batch on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if value is not None}
        return type(self)(**moved)


@dataclass(frozen=True)
class PairBatch(_Batch):
    """Lagged pairs over a table of frames.

    A frame that is the end of one pair and the start of the next stands in the table once, so a network sees it once.
    `weights` counts pairs: a batch that holds each distinct pair once, weighted by how often it occurs, has the same
    loss as the batch that lists every occurrence.

    Args:
        frames: what is known of each frame: features, a latent, or positions.
        now: row of the first frame of each pair.
        later: row of the frame one lag later.
        weights: how often each pair counts; once where None.
        context: what is fixed along the trajectory of each pair.
    """

    frames: Float[Tensor, "frame *shape"]
    now: Int[Tensor, "pair"]
    later: Int[Tensor, "pair"]
    weights: Float[Tensor, "pair"] | None = None
    context: Context = field(default_factory=Context)

    def __len__(self) -> int:
        return len(self.now)

    def rows(self, chosen: Int[Tensor, "row"]) -> "PairBatch":
        """Some of the pairs, over a table of their own; all alike, since rows are drawn as often as weights say."""
        rows = torch.cat([self.now[chosen], self.later[chosen]])
        places = torch.arange(len(rows), device=self.frames.device)
        n = len(chosen)
        return PairBatch(self.frames[rows], places[:n], places[n:], context=self.context.rows(chosen))

    def share(self, dtype: torch.dtype) -> Float[Tensor, "pair"]:
        """The weight of each pair as a share of the whole."""
        if self.weights is None:
            return torch.full(self.now.shape, 1.0 / len(self.now), dtype=dtype, device=self.frames.device)
        return (self.weights / self.weights.sum()).to(dtype)

    def both_directions(self) -> "PairBatch":
        """Every pair forwards and backwards: for dynamics that is reversible."""
        weights = None if self.weights is None else torch.cat([self.weights, self.weights])
        context = self.context.rows(torch.arange(len(self)).repeat(2))
        now, later = torch.cat([self.now, self.later]), torch.cat([self.later, self.now])
        return PairBatch(self.frames, now, later, weights, context)


@dataclass(frozen=True)
class FrameBatch(_Batch):
    """Structures and the latent of each.

    Args:
        frames: positions in nm, or what a decoder's `prepare` has made of them.
        latents: latent of each, tokens and channels in one axis.
        weights: how often each is drawn, relative to the others; all alike where None.
        trajectories: number of the trajectory of each; the frames of one stand together in the order of time, as far
            apart as the context says. None where they have no order.
        context: what is fixed along the trajectory of each frame.
    """

    frames: Float[Tensor, "batch *shape"]
    latents: Float[Tensor, "batch channel"]
    weights: Float[Tensor, "batch"] | None = None
    trajectories: Int[Tensor, "batch"] | None = None
    context: Context = field(default_factory=Context)

    def __len__(self) -> int:
        return len(self.latents)

    def rows(self, chosen: Int[Tensor, "row"]) -> "FrameBatch":
        """Some of the frames."""
        return FrameBatch(self.frames[chosen], self.latents[chosen], context=self.context.rows(chosen))


@dataclass(frozen=True)
class WindowBatch(_Batch):
    """Short latent trajectories.

    Args:
        latents: frames of each window, evenly spaced.
        context: what is fixed along each.
    """

    latents: Float[Tensor, "batch frame token channel"]
    context: Context = field(default_factory=Context)

    def condition(self, known_frames: Int[Tensor, "known"]) -> Condition:
        """What a propagator is told of each window when it knows these frames, as in generation."""
        known = torch.zeros_like(self.latents, dtype=torch.bool)
        known[:, known_frames] = True
        return Condition(torch.where(known, self.latents, 0), known)


@dataclass(frozen=True)
class LatentWindows:
    """All windows of some latent trajectories, over one table of frames.

    Args:
        frames: latent of every frame.
        first: row of the first frame of each window.
        stride: rows between two frames of a window.
        length: frames of a window.
        context: what is fixed along each window.
    """

    frames: Float[Tensor, "frame token channel"]
    first: Int[Tensor, "window"]
    stride: int
    length: int
    context: Context = field(default_factory=Context)

    def __len__(self) -> int:
        return len(self.first)

    def rows(self, chosen: Int[Tensor, "row"]) -> WindowBatch:
        """Some of the windows."""
        places = self.first[chosen][:, None] + self.stride * torch.arange(self.length)
        return WindowBatch(self.frames[places], self.context.rows(chosen))


Items = PairBatch | FrameBatch | LatentWindows
"""Things to learn from, held in memory; `rows` makes a batch of some of them."""


class RandomRows:
    """Draws of rows with repetition, each as often as its weight says."""

    def __init__(self, weights: Float[Tensor, "row"]) -> None:
        self._cumulative = (weights.double() / weights.double().sum()).cumsum(0)

    def draw(self, size: int, generator: torch.Generator) -> Int[Tensor, "size"]:
        """The rows of one batch."""
        points = torch.rand(size, generator=generator, dtype=torch.float64)
        return torch.searchsorted(self._cumulative, points).clamp(max=len(self._cumulative) - 1)
