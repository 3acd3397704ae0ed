"""Minibatches of lagged pairs from a table of frames in memory: no workers, no item-by-item Python."""

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.data.pairs import LaggedPairs
from mdgen.models.batches import PairBatch


class PairBatches:
    """One pass over all pairs in random order, in batches of equal size (an epoch).

    Where one batch would hold them all, the pairs are given as they are, each frame once. Weighted pairs are always
    given whole, since their weights differ by orders of magnitude.

    Args:
        pairs: all of them, over a table of frames.
        batch_pairs: pairs a batch.
        generator: of the order; its state is part of a checkpoint.
    """

    def __init__(self, pairs: PairBatch, batch_pairs: int, generator: torch.Generator) -> None:
        self.pairs, self.generator = pairs, generator
        self.whole = pairs.weights is not None or batch_pairs >= len(pairs.now)
        self.n_batches = 1 if self.whole else max(1, len(pairs.now) // batch_pairs)
        self.size = math.ceil(len(pairs.now) / self.n_batches)

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[PairBatch]:
        if self.whole:
            yield self.pairs
            return
        frames = self.pairs.frames
        order = torch.randperm(len(self.pairs.now), generator=self.generator)
        for chosen in order.split(self.size):
            rows = torch.cat([self.pairs.now[chosen], self.pairs.later[chosen]])
            places = torch.arange(len(rows), device=frames.device)
            yield PairBatch(frames[rows], places[: len(chosen)], places[len(chosen) :])


def whole(pairs: PairBatch) -> PairBatches:
    """All pairs in one batch, for validation."""
    return PairBatches(pairs, len(pairs.now), torch.Generator())


def pairs_of(tables: Sequence[Float[Tensor, "_ channel"]], lag_frames: int) -> PairBatch:
    """All pairs of several trajectories, each frame standing once; no pair joins two trajectories.

    Raises:
        MdgenError: if no trajectory is longer than the lag.

    >>> pairs = pairs_of([torch.zeros(3, 1), torch.zeros(4, 1)], 2)
    >>> pairs.now.tolist(), pairs.later.tolist()
    ([0, 3, 4], [2, 5, 6])
    """
    pairs = LaggedPairs(tables, lag_frames)
    return PairBatch(pairs.frames, pairs.first, pairs.first + lag_frames)


def distinct_pairs(states: Int[Tensor, "frame"], values: Float[Tensor, "state channel"], lag_frames: int) -> PairBatch:
    """All pairs of a trajectory of discrete states, each distinct one once with its count.

    A trajectory of five million steps over a hundred states has at most ten thousand distinct pairs; weighted by their
    counts they give exactly the loss and the gradient of the full list.
    """
    n_states = len(values)
    joint = states[:-lag_frames].long() * n_states + states[lag_frames:].long()
    counts = torch.bincount(joint, minlength=n_states**2)
    occurring = counts.nonzero()[:, 0]
    return PairBatch(values, occurring // n_states, occurring % n_states, counts[occurring].double())
