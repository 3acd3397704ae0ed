"""Intervals of implied timescales, for processes that may be seen a handful of times and lie close to each other.

What is estimated is the k-th implied timescale, at the lag, of the dynamics in the states of the model; what the states
do not resolve is no part of it. The error of a timescale is the larger of two. One follows from the number of
transitions, were the chain Markovian: a state visited n times has a time known to `1 / sqrt(n)`, however alike the
visits happen to be. The other is the scatter between blocks of time, which also holds memory beyond the lag; by chance
it is too small where blocks are few, for which Student's quantile would allow, did the first not bound it.

Eigenvalues come in order, so of two that cannot be told apart the first is too large and the second too small. Each
process has its interval; the k-th timescale lies between the k-th largest of their lower ends and the k-th largest of
their upper ends (Chen and Dudewicz, Ann. Inst. Stat. Math. 28, 405 (1976), for the largest of several means).
"""

import numpy as np
from jaxtyping import Float
from scipy.stats import norm

from mdgen.evaluation.statistics.intervals import LARGEST_LOG, LEVEL
from mdgen.evaluation.statistics.jackknife import without_each
from mdgen.evaluation.statistics.markov import symmetrised
from mdgen.results import Estimate


def log_reach(
    blocks: Float[np.ndarray, "block state state"], lag_frames: int, number: int, correlated: float
) -> Float[np.ndarray, "mode"]:
    """Half-width of the 95 % interval of the logarithm of each timescale, slowest first; NaN for those below zero.

    With eigenfunctions f of unit norm in the stationary distribution pi, an eigenvalue's variance to first order is

        var = sum_i pi_i f_i^2 (sum_j T_ij f_j^2 - l^2 f_i^2) / n,

    n the number of independent transitions (Hinrichs and Pande, J. Chem. Phys. 126, 244101 (2007), for a reversible
    matrix). The scatter between blocks is that of `f C f / f diag(C 1) f` with each block left out.

    Args:
        blocks: transitions at the lag in each block of time, sliding window, of connected states.
        lag_frames: frames of the lag: so many sliding counts are one independent transition.
        number: number of timescales.
        correlated: factor by which blocks that are not independent scatter less than they should.
    """
    total, both = blocks.sum(0), blocks + blocks.swapaxes(1, 2)
    matrix, pi = symmetrised(total)
    root = np.sqrt(pi)
    values, vectors = np.linalg.eigh(root[:, None] * matrix / root)
    number = min(number, len(pi) - 1)
    values, modes = values[::-1][1 : number + 1], vectors[:, ::-1][:, 1 : number + 1] / root[:, None]
    moments = (np.einsum("ik,uij,jk->uk", modes, both, modes, optimize=True), both.sum(2) @ modes**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        per_log = -1 / (values * np.log(values))  # d ln t / d l
        variance = (pi @ (modes**2 * (matrix @ modes**2 - values**2 * modes**2))) / (total.sum() / lag_frames)
        left_out = without_each(moments[0]) / without_each(moments[1])
        scatter = (len(blocks) - 1) * left_out.var(0) * correlated**2
        reach = norm.ppf((1 + LEVEL) / 2) * per_log * np.sqrt(np.maximum(variance, scatter))
    return np.where(values > 0, reach, np.nan)


def ordered_intervals(values: Float[np.ndarray, "mode"], reaches: Float[np.ndarray, "mode"]) -> list[Estimate]:
    """The timescales, slowest first, with their intervals; none for what has no reach.

    >>> [each.low for each in ordered_intervals(np.array([4.0, 2.0]), np.log([4.0, 1.25]))]
    [1.6, 1.0]
    """
    known = np.isfinite(reaches) & (values > 0)
    factors = np.exp(np.minimum(np.where(known, reaches, 0.0), LARGEST_LOG))
    low, high = (-np.sort(-each[known]) for each in (values / factors, values * factors))
    ends = iter(zip(low.tolist(), high.tolist(), strict=True))
    return [
        Estimate(float(v), *next(ends)) if inside else Estimate(float(v))
        for v, inside in zip(values, known, strict=True)
    ]
