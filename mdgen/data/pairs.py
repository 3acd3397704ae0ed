"""Pairs of frames one lag apart, never across the end of a trajectory."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.data.spacing import lag_in_frames
from mdgen.errors import MdgenError

__all__ = ["LaggedPairs", "lag_in_frames"]

logger = logging.getLogger("mdgen")


class LaggedPairs:
    """All pairs (frame t, frame t + lag) of several trajectories that are held in memory.

    Args:
        arrays: features, latents or positions of each trajectory, the frame axis first.
        lag_frames: frames between the two of a pair.

    Raises:
        MdgenError: if the lag is not positive, or no trajectory is longer than it.
    """

    def __init__(
        self, arrays: Sequence[Float[Tensor, "_frame ..."] | Float[np.ndarray, "_frame ..."]], lag_frames: int
    ) -> None:
        if lag_frames < 1:
            raise MdgenError(f"a lag of {lag_frames} frames makes no pairs; it must be at least 1")
        lengths = [len(array) for array in arrays]
        longest = max(lengths, default=0)
        if longest <= lag_frames:
            raise MdgenError(
                f"the longest trajectory has {longest} frames, and the lag is {lag_frames}; shorten the lag or give "
                "longer trajectories"
            )
        short = [index for index, length in enumerate(lengths) if length <= lag_frames]
        if short:
            logger.warning("%d of %d trajectories are too short for the lag: no pairs", len(short), len(arrays))
        self.lag_frames = lag_frames
        self.frames = torch.cat([torch.as_tensor(array) for array in arrays])
        ends = np.cumsum(lengths)
        self.first = torch.cat(
            [
                torch.arange(end - length, max(end - length, end - lag_frames))
                for length, end in zip(lengths, ends.tolist(), strict=True)
            ]
        )

    def __len__(self) -> int:
        return len(self.first)

    def to(self, device: torch.device | str) -> "LaggedPairs":
        """Move frames and indices to a device; returns itself."""
        self.frames, self.first = self.frames.to(device), self.first.to(device)
        return self

    def at(self, pairs: Int[Tensor, "pair"]) -> tuple[Float[Tensor, "pair ..."], Float[Tensor, "pair ..."]]:
        """The two frames of the chosen pairs, by their number among all pairs."""
        first = self.first[pairs]
        return self.frames[first], self.frames[first + self.lag_frames]

    def all(self) -> tuple[Float[Tensor, "pair ..."], Float[Tensor, "pair ..."]]:
        """Both frames of every pair."""
        return self.frames[self.first], self.frames[self.first + self.lag_frames]

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None, drop_last: bool = False
    ) -> Iterator[tuple[Float[Tensor, "pair ..."], Float[Tensor, "pair ..."]]]:
        """One pass over all pairs in batches: in random order given a generator, and in order without one.

        Each batch is two gathers from memory; nothing is done for a single pair.
        """
        if batch_size < 1:
            raise MdgenError(f"batch_size is {batch_size}; it must be at least 1")
        order = torch.arange(len(self)) if generator is None else torch.randperm(len(self), generator=generator)
        order = order.to(self.first.device)
        for start in range(0, len(self), batch_size):
            chosen = order[start : start + batch_size]
            if drop_last and len(chosen) < batch_size and start > 0:
                return
            yield self.at(chosen)
