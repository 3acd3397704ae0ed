"""A fraction of a set of trajectories, so that training, reference and replicate never share a frame."""

from collections.abc import Sequence

from mdgen.data.sources import SliceSource, Source
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError


def take_fraction(trajectories: TrajectorySet, start: float | int, stop: float | int) -> TrajectorySet:
    """The frames from one fraction of all frames to another, in the order of the trajectories.

    Trajectories that lie across a boundary are cut there, so fractions that do not overlap share no frame. With many
    trajectories of one length, boundaries fall between whole trajectories.

    Args:
        trajectories: set to take from.
        start: fraction of the frames to begin at, from 0.
        stop: fraction of the frames to end at, up to 1.

    Raises:
        MdgenError: if `start` and `stop` are out of order, or no frame lies between them.
    """
    if not 0 <= start < stop <= 1:
        raise MdgenError(f"a fraction from {start:g} to {stop:g} makes no sense; expected 0 <= start < stop <= 1")
    if (start, stop) == (0, 1):
        return trajectories
    first, last = (_boundary(trajectories.lengths, each) for each in (start, stop))
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


def _boundary(lengths: Sequence[int], fraction: float | int) -> int:
    """The frame at a fraction of all frames, moved to a trajectory's end within a hundredth of its length."""
    frame, end = round(fraction * sum(lengths)), 0
    for length in lengths:
        if abs(frame - end) <= length / 100:
            return end
        end += length
    return end if abs(frame - end) <= lengths[-1] / 100 else frame
