"""Intervals of times from a few correlated units, by the jackknife over blocks on a log scale.

Resampling five trajectories draws from a handful of values, and its percentiles are too narrow. Here every block is
left out once, the spread of the logarithm gives its variance, and Student's quantile allows for the number of blocks
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 11).
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import t as student

from mdgen.evaluation.statistics.autocorrelation import LEAST_LEFT
from mdgen.evaluation.statistics.block_permutation import slow_spread
from mdgen.evaluation.statistics.intervals import LARGEST_LOG, LEVEL
from mdgen.evaluation.statistics.observables import Observables
from mdgen.results import Estimate

FEWEST_LEFT_OUT, MOST_LEFT_OUT = 8, 32
"""Blocks of a jackknife; as many as are still `TIMESCALES_A_BLOCK` long."""

TIMESCALES_A_BLOCK = 10.0
"""Length of a block in its slowest timescales, so that blocks are nearly independent."""


def time_blocks(row: Observables, timescale_ps: float) -> Int[np.ndarray, "frame"]:
    """The block of each frame: blocks of equal length within trajectories, of many timescales where there is enough."""
    wanted = row.length_ns * 1000 / (TIMESCALES_A_BLOCK * max(timescale_ps, 1e-9))
    wanted = np.clip(wanted, FEWEST_LEFT_OUT, MOST_LEFT_OUT)
    if len(row.lengths) >= wanted:
        groups = np.arange(len(row.lengths)) * round(wanted) // len(row.lengths)
        return groups[row.trajectory]
    length = max(1.0, row.n_frames / wanted)
    pieces = np.maximum(1, np.round(np.array(row.lengths) / length)).astype(np.int64)
    within = [np.arange(n) * number // max(n, 1) for n, number in zip(row.lengths, pieces, strict=True)]
    return np.concatenate(within) + np.repeat(np.cumsum(pieces) - pieces, row.lengths)


def correlated_spread(row: Observables, units: Int[np.ndarray, "frame"], timescale_ps: float) -> float:
    """Factor by which the error exceeds that of independent blocks; 1 where blocks are long or whole trajectories."""
    block, trajectory = (row.length_ns * 1000 / number for number in (units.max() + 1, len(row.lengths)))
    return slow_spread(block, trajectory, timescale_ps)


def without_each(sums: Float[np.ndarray, "block *shape"]) -> Float[np.ndarray, "block *shape"]:
    """The total of all blocks but one, for each."""
    return sums.sum(0) - sums


def log_interval(value: float, left_out: Float[np.ndarray, "block"], correlated: float = 1.0) -> Estimate:
    """A time with its interval.

    Args:
        value: the time from all blocks.
        left_out: the times with each block left out.
        correlated: factor by which blocks that are not independent spread less than they should.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithms = np.log(left_out)
    logarithms = logarithms[np.isfinite(logarithms)]
    number = len(logarithms)
    if number < 2 or not value > 0:
        return Estimate(float(value))
    variance = (number - 1) * logarithms.var() * correlated**2
    half = student.ppf((1 + LEVEL) / 2, number - 1) * np.sqrt(variance)
    return Estimate(float(value), float(value * np.exp(-half)), float(value * np.exp(half)))


def log_band(
    values: Float[np.ndarray, "line *shape"],
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    """Ends of the 95 % intervals of correlations on a log scale, which keeps them above 0; none reaches above 1.

    Args:
        values: correlations of all blocks, then with each block left out; NaN where there is none.
    """
    middle, left_out = np.maximum(values[0], LEAST_LEFT), values[1:]
    there = np.isfinite(left_out)  # without the only trajectory that is as long as a lag, nothing is known there
    number = np.maximum(there.sum(0), 1)
    mean = np.where(there, left_out, 0.0).sum(0) / number
    squares = np.where(there, (left_out - mean) ** 2, 0.0).sum(0)
    quantile = student.ppf((1 + LEVEL) / 2, np.maximum(number - 1, 1))
    reach = np.where(number > 1, quantile * np.sqrt((number - 1) / number * squares) / middle, LARGEST_LOG)
    factor = np.exp(np.minimum(reach, LARGEST_LOG))
    return middle / factor, np.minimum(middle * factor, 1.0)
