"""Pairs of frames one lag apart, never across the end of a trajectory, over one table of frames."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.data.spacing import lag_in_frames
from mdgen.errors import MdgenError

__all__ = ["LaggedPairs", "lag_in_frames"]

logger = logging.getLogger("mdgen")


class LaggedPairs:
    """All pairs (frame t, frame t + lag) of several trajectories that are held in memory.

    `frames` holds all frames one after the other, `first` the row of the first frame of each pair.

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
