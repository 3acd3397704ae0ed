"""Intervals by the bootstrap over trajectories, or over blocks where there are too few of them.

Frames of one trajectory are correlated, so they cannot be resampled one by one; trajectories, and blocks much longer
than the slowest process, can. Every metric is therefore a function of sums over *units* (a trajectory, a block, or a
group of trajectories), and a resample is a vector of weights over the units.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from mdgen.results import Estimate

LEVEL = 0.95
"""Probability that an interval holds the value."""

MINIMUM_UNITS = 5
"""With fewer trajectories than this each is cut into equal blocks, five for one long run."""

MAXIMUM_UNITS = 64
"""With more trajectories than this neighbours share a unit, which bounds the memory of the sums."""


def unit_ids(lengths: Sequence[int]) -> Int[np.ndarray, "frame"]:
    """The bootstrap unit of each frame of concatenated trajectories of these `lengths`.

    >>> unit_ids([4, 4, 4, 4, 4]).tolist()
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4]
    >>> unit_ids([10]).tolist()
    [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    """
    count = len(lengths)
    pieces = 1 if count >= MINIMUM_UNITS else -(-MINIMUM_UNITS // max(count, 1))
    groups = np.arange(count) * min(count, MAXIMUM_UNITS) // max(count, 1)
    ids = [
        groups[i] * pieces + np.arange(length) * pieces // max(length, 1) for i, length in enumerate(lengths) if length
    ]
    if not ids:
        return np.zeros(0, dtype=np.int64)
    joined = np.concatenate(ids)
    return np.cumsum(np.diff(joined, prepend=joined[0]) > 0)  # numbered without gaps


def bootstrap_weights(units: int, resamples: int, rng: np.random.Generator) -> Float[np.ndarray, "resample unit"]:
    """Number of times each unit is drawn in each resample: multinomial, `units` draws of equal probability."""
    return rng.multinomial(units, np.full(units, 1 / units), size=resamples).astype(np.float64)


def percentile_interval(value: float, samples: Float[np.ndarray, "resample"]) -> Estimate:
    """`value` with the percentiles of its resamples; samples that are not finite are left out."""
    return Estimate(float(value), *_percentiles(samples)[:2])


def centred_interval(value: float, samples: Float[np.ndarray, "resample"]) -> Estimate:
    """`value` with the spread of its resamples around it, for distances.

    Resampling adds noise, so the percentiles of a distance lie above its value; here they are shifted so that the
    median of the resamples falls on the value, and cut at 0.
    """
    low, high, middle = _percentiles(samples)
    if low is None or high is None:
        return Estimate(float(value))
    return Estimate(float(value), max(0.0, value + low - middle), value + high - middle)


def frame_mean(
    values: Num[np.ndarray, "frame"] | Bool[np.ndarray, "frame"],
    units: Int[np.ndarray, "frame"],
    resamples: int,
    rng: np.random.Generator,
    root: bool = False,
) -> Estimate:
    """The mean over frames, such as the share for which something holds, or the root of it."""
    sums, counts = np.bincount(units, weights=values), np.bincount(units)
    weights = bootstrap_weights(len(sums), resamples, rng)
    value, samples = sums.sum() / counts.sum(), (weights @ sums) / np.maximum(weights @ counts, 1)
    return percentile_interval(np.sqrt(value), np.sqrt(samples)) if root else percentile_interval(value, samples)


def spread(samples: Float[np.ndarray, "draw"]) -> Estimate:
    """The mean of independent draws with the interval that holds them; draws that are not finite are left out."""
    finite = samples[np.isfinite(samples)]
    return percentile_interval(finite.mean() if len(finite) else float("nan"), finite)


def ratio_interval(value: float, samples: Float[np.ndarray, "resample"]) -> Estimate:
    """`value` with the relative spread of its resamples around it, for times, whose errors are factors."""
    low, high, middle = _percentiles(samples)
    if low is None or high is None or middle <= 0:
        return Estimate(float(value))
    return Estimate(float(value), value * low / middle, value * high / middle)


def estimates(
    samples: Mapping[str, Float[np.ndarray, "resample"]],
    interval: Callable[[float, np.ndarray], Estimate] = centred_interval,
) -> dict[str, Estimate]:
    """Estimates by name from arrays that hold the value first, then its resamples; none for values not finite."""
    return {name: interval(float(s[0]), s[1:]) for name, s in samples.items() if np.isfinite(s[0])}


def spreads(samples: Mapping[str, Float[np.ndarray, "draw"]]) -> dict[str, Estimate]:
    """The `spread` of independent draws by name; names without a finite draw are left out."""
    return {name: spread(draws) for name, draws in samples.items() if np.isfinite(draws).any()}


def _percentiles(samples: np.ndarray) -> tuple[float | None, float | None, float]:
    """Ends of the 95 % interval of the samples that are finite, None for fewer than two, and their median."""
    finite = samples[np.isfinite(samples)]
    if len(finite) < 2:
        return None, None, 0.0
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high), float(np.median(finite))


def resampled(
    metric: Callable[[np.ndarray, np.ndarray], np.ndarray],
    reference: Float[np.ndarray, "unit *shape"],
    generated: Float[np.ndarray, "other_unit *shape"],
    resamples: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """A metric of two sums over units, and its values on resamples of both, resamples on the first axis."""
    value = metric(reference.sum(0), generated.sum(0))
    samples = metric(
        np.tensordot(bootstrap_weights(len(reference), resamples, rng), reference, axes=1),
        np.tensordot(bootstrap_weights(len(generated), resamples, rng), generated, axes=1),
    )
    return value, samples
