"""Parts of the data that share no memory: whole molecules or trajectories, or blocks with gaps between.

Frames drawn at random would not do: a frame's neighbours would sit in the other part, and validation would test nothing
new.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from mdgen.data.collection import TrajectoryCollection
from mdgen.data.sources import SliceSource, Source
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError

Frames = TypeVar("Frames", Tensor, np.ndarray)


@dataclass(frozen=True, order=True)
class Segment:
    """Frames `start` to `stop` (not included) of a trajectory."""

    trajectory: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Split:
    """The segments of the two parts, in the order of the trajectories."""

    training: tuple[Segment, ...]
    validation: tuple[Segment, ...]


def cut(arrays: Sequence[Frames], segments: Sequence[Segment]) -> list[Frames]:
    """The segments of some arrays, whose first axis is time, as views."""
    return [arrays[segment.trajectory][segment.start : segment.stop] for segment in segments]


def split(lengths: Sequence[int], validation_share: float, lag_frames: int, generator: torch.Generator) -> Split:
    """Split by whole trajectory where there are at least five, else by blocks.

    Args:
        lengths: frames of each trajectory.
        validation_share: fraction of the frames to validate on, between 0 and 1.
        lag_frames: lag of the model, which is also the gap between two blocks.
        generator: random stream that chooses the validation part.

    Raises:
        MdgenError: if the share leaves nothing to train or to validate on.
    """
    if len(lengths) >= 5:
        return split_by_trajectory(lengths, validation_share, generator)
    return split_by_block(lengths, validation_share, lag_frames, generator)


def split_by_trajectory(lengths: Sequence[int], validation_share: float, generator: torch.Generator) -> Split:
    """Random whole trajectories to validate on, at least one and never all.

    Raises:
        MdgenError: if there is only one trajectory, or the share is not between 0 and 1.
    """
    _require_share(validation_share)
    if len(lengths) < 2:
        raise MdgenError("one trajectory cannot be split by trajectory; split it by block, or give more trajectories")
    chosen = _drawn(lengths, validation_share * sum(lengths), 1, generator)
    segments = [Segment(index, 0, length) for index, length in enumerate(lengths)]
    return Split(
        tuple(segment for segment in segments if segment.trajectory not in chosen),
        tuple(segment for segment in segments if segment.trajectory in chosen),
    )


def split_by_block(
    lengths: Sequence[int],
    validation_share: float,
    lag_frames: int,
    generator: torch.Generator,
    n_blocks: int = 20,
) -> Split:
    """Random blocks to validate on, from about `n_blocks` equal ones, and the rest less a gap of one lag to train on.

    A block is at least ten lags long, so few pairs are lost at its ends.

    Raises:
        MdgenError: if the trajectories are too short for one block of each part.
    """
    _require_share(validation_share)
    size = max(sum(lengths) // n_blocks, 10 * lag_frames, 2)
    blocks = [
        Segment(trajectory, length * k // count, length * (k + 1) // count)
        for trajectory, length in enumerate(lengths)
        for count in [max(1, round(length / size))]
        for k in range(count)
    ]
    if len(blocks) < 2:
        raise MdgenError(
            f"{sum(lengths)} frames are too few to split into blocks of ten lags of {lag_frames} frames; shorten the "
            "lag or give longer trajectories"
        )
    n_validation = min(max(1, round(validation_share * len(blocks))), len(blocks) - 1)
    order = torch.randperm(len(blocks), generator=generator).tolist()
    validation = _merged(sorted(blocks[index] for index in order[:n_validation]))
    training = _merged(sorted(blocks[index] for index in order[n_validation:]))
    kept = [_apart(segment, validation, lag_frames) for segment in training]
    return Split(tuple(segment for segment in kept if len(segment) > 0), tuple(validation))


@dataclass(frozen=True)
class CollectionSplit:
    """The parts of a collection; None where a part was not asked for."""

    training: TrajectoryCollection
    validation: TrajectoryCollection | None
    test: TrajectoryCollection | None


def split_collection(
    collection: TrajectoryCollection,
    validation_share: float,
    test_share: float,
    generator: torch.Generator,
    by: str = "molecule",
) -> CollectionSplit:
    """Random parts that share no molecule, or no trajectory.

    Args:
        collection: trajectories to split.
        validation_share: fraction of the frames to validate on; 0 for none.
        test_share: fraction of the frames to test on; 0 for none.
        generator: random stream that chooses the parts.
        by: unit that stays together: `molecule`, with all of its sets, or `trajectory`.

    Raises:
        MdgenError: if `by` or a share is not sensible, or a part that was asked for would stay empty.
    """
    if by not in ("molecule", "trajectory"):
        raise MdgenError(f"a collection cannot be split by {by!r}; choose molecule or trajectory")
    shares = {"validation": validation_share, "test": test_share}
    if min(shares.values()) < 0 or sum(shares.values()) >= 1:
        raise MdgenError(
            f"shares of {validation_share:g} to validate and {test_share:g} to test on leave nothing to train on; "
            "choose them from 0 on and below 1 together"
        )
    groups: dict[Any, list[tuple[int, int]]] = {}
    for number, each in enumerate(collection):
        for trajectory in range(len(each)):
            key = each.molecule.fingerprint if by == "molecule" else (number, trajectory)
            groups.setdefault(key, []).append((number, trajectory))
    wanted = [part for part, share in shares.items() if share > 0]
    if len(groups) <= len(wanted):
        kind = "molecules" if by == "molecule" else "trajectories"
        raise MdgenError(
            f"{len(groups)} {kind} cannot be split into {len(wanted) + 1} parts by {by}; give more of them"
        )
    units = list(groups.values())
    sizes = [sum(collection[number].lengths[trajectory] for number, trajectory in unit) for unit in units]
    left = list(range(len(units)))
    parts: dict[str, set[int]] = {}
    for part in wanted:
        reserved = len(wanted) - len(parts)  # units that the other parts and training need
        chosen = _drawn([sizes[unit] for unit in left], shares[part] * sum(sizes), reserved, generator)
        parts[part] = {left[index] for index in chosen}
        left = [unit for unit in left if unit not in parts[part]]
    made = {
        part: collection.select([item for unit in members for item in units[unit]])
        for part, members in {**parts, "training": left}.items()
    }
    return CollectionSplit(made["training"], made.get("validation"), made.get("test"))


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


def _drawn(sizes: Sequence[int], wanted: float, reserved: int, generator: torch.Generator) -> set[int]:
    """Random units of about `wanted` size together, at least one, never the last `reserved` of the random order."""
    order = torch.randperm(len(sizes), generator=generator).tolist()
    chosen: set[int] = set()
    held = 0
    for index in order[: len(order) - reserved]:
        if chosen and held + sizes[index] / 2 > wanted:
            continue
        chosen.add(index)
        held += sizes[index]
    return chosen


def _require_share(share: float) -> None:
    if not 0 < share < 1:
        raise MdgenError(f"a validation share of {share} leaves nothing on one side; choose one above 0 and below 1")


def _merged(segments: Sequence[Segment]) -> list[Segment]:
    merged: list[Segment] = []
    for segment in segments:
        if merged and (merged[-1].trajectory, merged[-1].stop) == (segment.trajectory, segment.start):
            merged[-1] = Segment(segment.trajectory, merged[-1].start, segment.stop)
        else:
            merged.append(segment)
    return merged


def _apart(segment: Segment, others: Sequence[Segment], gap: int) -> Segment:
    """The segment without the frames within `gap` of a neighbour among `others`."""
    start, stop = segment.start, segment.stop
    for other in others:
        if other.trajectory == segment.trajectory:
            start = start + gap if other.stop == segment.start else start
            stop = stop - gap if other.start == segment.stop else stop
    return Segment(segment.trajectory, start, max(start, stop))


def _boundary(lengths: Sequence[int], fraction: float | int) -> int:
    """The frame at a fraction of all frames, moved to a trajectory's end within a hundredth of its length."""
    frame, end = round(fraction * sum(lengths)), 0
    for length in lengths:
        if abs(frame - end) <= length / 100:
            return end
        end += length
    return end if abs(frame - end) <= lengths[-1] / 100 else frame
