"""Intervals by the bootstrap over trajectories, or over blocks where there are too few of them.

Frames of one trajectory are correlated, so they cannot be resampled one by one; trajectories, and blocks much longer
than the slowest process, can. Every metric is therefore a function of sums over *units* (a trajectory, a block, or a
group of trajectories), and a resample is a vector of weights over the units. Few units give too narrow a spread: where
their number is given, intervals are as much wider as Student's are.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy.stats import norm
from scipy.stats import t as student

from mdgen.results import Estimate

LEVEL = 0.95
"""Probability that an interval holds the value."""

MINIMUM_UNITS = 5
"""With fewer trajectories than this each is cut into equal blocks, five for one long run and two for others."""

RULE_OF_THREE = 3.0
"""Upper end of the expected number of what was never seen (Hanley and Lippman-Hand, JAMA 249, 1743, 1983)."""

LARGEST_LOG = 20.0
"""Bound of the logarithm of an interval's end over its value."""

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
    pieces = 1 if count >= MINIMUM_UNITS else 2 if count > 1 else MINIMUM_UNITS
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


@cache
def student_widening(units: int | None) -> float:
    """Factor by which the spread of resamples of so many units is widened; 1 where the number is not known.

    Resamples of n units have (n - 1) / n of the variance of the mean, and its error is Student's with n - 1 degrees.

    >>> [round(student_widening(units), 2) for units in (5, 10, 64)], student_widening(None)
    ([1.58, 1.22, 1.03], 1.0)
    """
    if units is None:
        return 1.0
    units = max(units, 2)
    return float(student.ppf((1 + LEVEL) / 2, units - 1) / norm.ppf((1 + LEVEL) / 2) * np.sqrt(units / (units - 1)))


def percentile_interval(value: float, samples: Float[np.ndarray, "resample"], units: int | None = None) -> Estimate:
    """`value` with the percentiles of its resamples; samples that are not finite are left out.

    Where the number of units is given they are widened about the value, and never below 0 for what is never negative.
    """
    low, high, middle = _percentiles(samples)
    if low is None or high is None or units is None:
        return Estimate(float(value), low, high)
    wide, least = student_widening(units), 0.0 if np.nanmin(samples) >= 0 and value >= 0 else -np.inf
    return Estimate(float(value), max(least, value + wide * (low - middle)), value + wide * (high - middle))


def centred_interval(value: float, samples: Float[np.ndarray, "resample"], units: int | None = None) -> Estimate:
    """`value` with the spread of its resamples around it, for distances.

    Resampling adds noise, so the percentiles of a distance lie above its value; here they are shifted so that the
    median of the resamples falls on the value, and cut at 0.
    """
    low, high, middle = _percentiles(samples)
    if low is None or high is None:
        return Estimate(float(value))
    wide = student_widening(units)
    return Estimate(float(value), max(0.0, value + wide * (low - middle)), value + wide * (high - middle))


def frame_mean(
    values: Num[np.ndarray, "frame"] | Bool[np.ndarray, "frame"], units: Int[np.ndarray, "frame"], root: bool = False
) -> Estimate:
    """The mean over frames, such as the share for which something holds, or the root of it, with Student's interval.

    Its error is that of a ratio of sums over units. What is never negative has an interval on a log scale, since its
    error grows with it: `value exp(+-t s / value)`. A share's ends at 1, and what n frames never show may have a share
    of up to 3 / n, more where they are correlated.
    """
    sums, counts = np.bincount(units, weights=values), np.bincount(units)
    value, number = sums.sum() / counts.sum(), len(sums)
    low = high = None
    if number > 1:
        variance = ((sums - value * counts) ** 2).sum() * number / (number - 1)
        reach = student.ppf((1 + LEVEL) / 2, number - 1) * np.sqrt(variance) / counts.sum()
        low, high = value - reach, value + reach
        if np.min(values) >= 0:
            factor = np.exp(min(reach / value, LARGEST_LOG)) if value > 0 else 1.0
            low, high = value / factor, value * factor
        if values.dtype == bool:
            high = min(max(high, RULE_OF_THREE / len(values)), 1.0)
    if root:
        value, low, high = (None if end is None else float(np.sqrt(end)) for end in (value, low, high))
    return Estimate(float(value), None if low is None else float(low), None if high is None else float(high))


def spread(samples: Float[np.ndarray, "draw"]) -> Estimate:
    """The mean of independent draws with the interval that holds them; draws that are not finite are left out."""
    finite = samples[np.isfinite(samples)]
    return percentile_interval(finite.mean() if len(finite) else float("nan"), finite)


def estimates(
    samples: Mapping[str, Float[np.ndarray, "resample"]],
    interval: Callable[[float, np.ndarray, int | None], Estimate] = centred_interval,
    units: int | None = None,
) -> dict[str, Estimate]:
    """Estimates by name from arrays that hold the value first, then its resamples; none for values not finite."""
    return {name: interval(float(s[0]), s[1:], units) for name, s in samples.items() if np.isfinite(s[0])}


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
