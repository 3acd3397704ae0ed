"""The rows of every table: the generated trajectories beside replicates and baselines, at equal numbers of frames.

Every baseline consists of frames of the reference or of its replicate in another order or number, so the same metrics
are measured in the same way. A score that the shuffled row also reaches says nothing of kinetics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from mdgen.evaluation.baselines.surrogates import markov_paths, ornstein_uhlenbeck
from mdgen.evaluation.metrics.kinetics import KineticMetrics
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.observables import Observables
from mdgen.evaluation.statistics.slow_coordinates import SlowCoordinates


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


def table_rows(
    slow: SlowCoordinates, kinetics: KineticMetrics | None, settings: Settings, rng: np.random.Generator
) -> list[Row]:
    """The rows of every table but the floors, in their order.

    Args:
        slow: reference, replicate, generated trajectories, and those of further training seeds.
        kinetics: kinetics of the reference, from which the surrogates are made; None where it has none.
        settings: resolved settings.
        rng: generator of the random rows.
    """
    target, oracle, generated, *seeds = slow.data
    frames, window = min(data.n_frames for data in slow.data[1:]), max(oracle.lengths)
    equal, cut = (equal_frames(data, frames, window) for data in (oracle, generated))
    rows = [
        Row("reference", "MD", "the reference itself", lambda: target),
        Row("replicate", "MD replicate", "held-out MD of the same force field", lambda: equal),
        Row("generated", "generated", "the generated trajectories, as many frames as the replicate", lambda: cut),
    ]
    meaning = "the same model from another training seed, as many frames"
    for seed, data in enumerate(seeds, start=2):
        make = partial(equal_frames, data, frames, window)
        rows.append(Row(f"seed_{seed}", f"generated, seed {seed}", meaning, make))
    if cut.n_frames < generated.n_frames:
        rows.append(Row("generated_all", "generated, all", "all the generated trajectories", lambda: generated))
    if settings.verdict_only:
        return rows
    for name, part in (("tenth", 10), ("hundredth", 100), ("thousandth", 1000)):
        if frames // part >= 2:
            make = partial(first_part, equal, frames // part)
            rows.append(Row(name, f"MD 1/{part:,}", f"the first 1/{part:,} of the replicate", make))
    lengths = equal.lengths
    mix, draw = partial(shuffled, equal, rng), partial(independent, target, lengths, rng)
    rows += [
        Row("shuffled", "MD shuffled", "the replicate, frames in random order", mix),
        Row("independent", "i.i.d.", "frames drawn from the reference", draw),
    ]
    rows += _surrogates(slow, kinetics, settings, frames, rng)
    still = partial(frozen, equal, lengths)
    rows.append(Row("frozen", "frozen", "the replicate's first frame, repeated", still))
    return rows


def _surrogates(
    slow: SlowCoordinates, kinetics: KineticMetrics | None, settings: Settings, frames: int, rng: np.random.Generator
) -> list[Row]:
    target, lag = slow.data[0], settings.lag_ps or 0.0
    counts = None if kinetics is None else kinetics.counts(target)
    if counts is None:
        return []
    paths = partial(markov_paths, target, counts.sum(0), lag, frames, rng)
    rows = [Row("markov_paths", "MSM paths", "paths of the reference's Markov state model", paths)]
    if slow.modes is not None and slow.eigenvalues is not None:
        process = partial(ornstein_uhlenbeck, target, slow.modes, slow.eigenvalues, lag, frames, rng)
        rows.append(Row("tica_ou", "TICA-OU", "an Ornstein-Uhlenbeck process in the TICA modes", process))
    return rows


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
