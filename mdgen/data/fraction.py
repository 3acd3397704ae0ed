"""A fraction of a set of trajectories, so that training, reference and replicate never share a frame."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mdgen.data.sources import Source
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError


class SliceSource:
    """Frames `start` to `stop` (not included) of another source."""

    def __init__(self, whole: Source, start: int, stop: int) -> None:
        self.name = f"{whole.name} frames {start} to {stop}"
        self.n_frames, self.n_atoms = stop - start, whole.n_atoms
        self.frame_spacing_ps = whole.frame_spacing_ps
        self._whole, self._start = whole, start

    def read(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame atom 3"]:
        """Frames `start:stop:stride` of the slice."""
        return self._whole.read(self._start + start, self._start + stop, stride)

    def close(self) -> None:
        """Close what the other source has open."""
        self._whole.close()


def take_fraction(trajectories: TrajectorySet, start: float | int, stop: float | int) -> TrajectorySet:
    """The frames between two shares of all frames, in the order of the trajectories.

    Trajectories that lie across a boundary are cut there, so fractions that do not overlap share no frame. With many
    trajectories of one length, boundaries fall between whole trajectories.

    Args:
        trajectories: all of them.
        start: share of the frames at which the fraction begins, from 0.
        stop: share at which it ends, up to 1.

    Raises:
        MdgenError: if the shares are out of order, or hold no frame.
    """
    if not 0 <= start < stop <= 1:
        raise MdgenError(f"a fraction from {start:g} to {stop:g} makes no sense; expected 0 <= start < stop <= 1")
    if (start, stop) == (0, 1):
        return trajectories
    first, last = (_boundary(trajectories.lengths, share) for share in (start, stop))
    sources: list[Source] = []
    begin = 0
    for index, length in enumerate(trajectories.lengths):
        low, high = max(first - begin, 0), min(last - begin, length)
        if low < high:
            whole = trajectories.source(index)
            sources.append(whole if (low, high) == (0, length) else SliceSource(whole, low, high))
        begin += length
    if not sources:
        raise MdgenError(
            f"the fraction from {start:g} to {stop:g} of {trajectories.n_frames} frames is empty; give longer ones"
        )
    return TrajectorySet(trajectories.molecule, trajectories.frame_spacing_ps, sources)


def _boundary(lengths: Sequence[int], share: float | int) -> int:
    """The frame at a share of all frames, moved to the end of a trajectory that is within a hundredth of its length."""
    frame, end = round(share * sum(lengths)), 0
    for length in lengths:
        if abs(frame - end) <= length / 100:
            return end
        end += length
    return end if abs(frame - end) <= lengths[-1] / 100 else frame
