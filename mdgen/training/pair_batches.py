"""Lagged pairs from tables of frames in memory."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.data.spacing import pair_starts
from mdgen.models.batches import PairBatch


def pairs_of(tables: Sequence[Float[Tensor, "_ *shape"]], lag_frames: int) -> PairBatch:
    """All pairs of several trajectories, each frame standing once; no pair joins two trajectories.

    Raises:
        MdgenError: if no trajectory is longer than the lag.

    >>> pairs = pairs_of([torch.zeros(3, 1), torch.zeros(4, 1)], 2)
    >>> pairs.now.tolist(), pairs.later.tolist()
    ([0, 3, 4], [2, 5, 6])
    """
    first = pair_starts([len(table) for table in tables], lag_frames)
    return PairBatch(torch.cat(list(tables)), first, first + lag_frames)


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
