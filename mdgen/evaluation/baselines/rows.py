"""The rows of every table: the generated trajectories beside replicates and baselines, at equal numbers of frames.

Every baseline consists of frames of the reference or of its replicate in another order or number, so the same metrics
are measured in the same way. A score that the shuffled row also reaches says nothing of kinetics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mdgen.evaluation.statistics.observables import Observables


@dataclass(frozen=True)
class Row:
    """Trajectories to be judged, made one row at a time: a million frames of each row at once would fill memory.

    Args:
        name: key in the result.
        label: name in tables.
        meaning: one line on the origin of its frames.
        make: function that gives its frames; called once, rows in order, since random ones share a generator.
    """

    name: str
    label: str
    meaning: str
    make: Callable[[], Observables]


def split(data: Observables) -> tuple[Observables, Observables]:
    """Two halves that share no trajectory: the even and the odd ones; the halves of it where there is only one."""
    if len(data.lengths) == 1:
        half = data.lengths[0] // 2
        return data.take(np.arange(half), (half,)), data.take(np.arange(half, 2 * half), (half,))
    return select(data, range(0, len(data.lengths), 2)), select(data, range(1, len(data.lengths), 2))


def select(data: Observables, trajectories: Sequence[int]) -> Observables:
    """The chosen trajectories."""
    slices = list(data.slices())
    frames = np.concatenate([np.arange(slices[i].start, slices[i].stop) for i in trajectories])
    return data.take(frames, tuple(data.lengths[i] for i in trajectories))


def equal_frames(data: Observables, frames: int, window: int) -> Observables:
    """About `frames` frames: whole windows of at most `window` frames, spread evenly over all the trajectories.

    Windows keep the order in time, so that kinetics can be judged, and their spread keeps the sample as independent as
    trajectories of that length can be. The last window is cut so that the number is exact.
    """
    if data.n_frames <= frames:
        return data
    pieces = [
        (start, min(start + window, piece.stop))
        for piece in data.slices()
        for start in range(piece.start, piece.stop, window)
    ]
    order = np.argsort((np.arange(len(pieces)) * 0.6180339887498949) % 1.0)  # evenly spread, however many are taken
    taken, left = [], frames
    for index in order:
        start, stop = pieces[index]
        stop = min(stop, start + left)
        taken.append((start, stop))
        left -= stop - start
        if left == 0:
            break
    indices = np.concatenate([np.arange(start, stop) for start, stop in taken])
    return data.take(indices, tuple(stop - start for start, stop in taken))


def first_part(data: Observables, frames: int) -> Observables:
    """The first `frames` frames: whole trajectories in their order, the last one cut."""
    lengths, left = [], frames
    for length in data.lengths:
        if left == 0:
            break
        lengths.append(min(length, left))
        left -= lengths[-1]
    return data.take(np.arange(sum(lengths)), tuple(lengths))


def shuffled(data: Observables, rng: np.random.Generator) -> Observables:
    """The same frames in random order: distributions are unchanged, correlations in time are lost."""
    return data.take(rng.permutation(data.n_frames), data.lengths)


def independent(data: Observables, lengths: tuple[int, ...], rng: np.random.Generator) -> Observables:
    """Frames drawn at random, independently of each other."""
    return data.take(rng.integers(data.n_frames, size=sum(lengths)), lengths)


def frozen(data: Observables, lengths: tuple[int, ...]) -> Observables:
    """The first frame, repeated."""
    return data.take(np.zeros(sum(lengths), dtype=np.int64), lengths)
