"""All rows of a table: the given trajectories, and the baselines made of them."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from mdgen.evaluation.baselines import rows as rows_of
from mdgen.evaluation.baselines import surrogates
from mdgen.evaluation.baselines.rows import Row
from mdgen.evaluation.metrics.kinetics import KineticMetrics
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.observables import Observables
from mdgen.evaluation.statistics.slow_coordinates import SlowCoordinates


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
    equal, cut = (rows_of.equal_frames(data, frames, window) for data in (oracle, generated))
    rows = [
        Row("reference", "MD", "the reference itself", lambda: target),
        Row("replicate", "MD replicate", "held-out MD of the same force field", lambda: equal),
        Row("generated", "generated", "the generated trajectories, as many frames as the replicate", lambda: cut),
    ]
    rows += _of_seeds(seeds, frames, window)
    if cut.n_frames < generated.n_frames:
        rows.append(Row("generated_all", "generated, all", "all the generated trajectories", lambda: generated))
    for name, part in (("tenth", 10), ("hundredth", 100), ("thousandth", 1000)):
        if frames // part >= 2:
            make = partial(rows_of.first_part, equal, frames // part)
            rows.append(Row(name, f"MD 1/{part:,}", f"the first 1/{part:,} of the replicate", make))
    lengths = equal.lengths
    mix, draw = partial(rows_of.shuffled, equal, rng), partial(rows_of.independent, target, lengths, rng)
    rows += [
        Row("shuffled", "MD shuffled", "the replicate, frames in random order", mix),
        Row("independent", "i.i.d.", "frames drawn from the reference", draw),
    ]
    rows += _surrogates(slow, kinetics, settings, frames, rng)
    still = partial(rows_of.frozen, equal, lengths)
    rows.append(Row("frozen", "frozen", "the replicate's first frame, repeated", still))
    return rows


def _of_seeds(seeds: Sequence[Observables], frames: int, window: int) -> list[Row]:
    return [
        Row(
            f"seed_{number}",
            f"generated, seed {number}",
            "the same model from another training seed, as many frames",
            partial(rows_of.equal_frames, data, frames, window),
        )
        for number, data in enumerate(seeds, start=2)
    ]


def _surrogates(
    slow: SlowCoordinates,
    kinetics: KineticMetrics | None,
    settings: Settings,
    frames: int,
    rng: np.random.Generator,
) -> list[Row]:
    target, lag = slow.data[0], settings.lag_ps or 0.0
    counts = None if kinetics is None else kinetics.counts(target)
    if counts is None:
        return []
    paths = partial(surrogates.markov_paths, target, counts.sum(0), lag, frames, rng)
    rows = [Row("markov_paths", "MSM paths", "paths of the reference's Markov state model", paths)]
    if slow.modes is not None and slow.eigenvalues is not None:
        process = partial(surrogates.ornstein_uhlenbeck, target, slow.modes, slow.eigenvalues, lag, frames, rng)
        rows.append(Row("tica_ou", "TICA-OU", "an Ornstein-Uhlenbeck process in the TICA modes", process))
    return rows
