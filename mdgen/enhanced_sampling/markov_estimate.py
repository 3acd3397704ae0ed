"""Kinetics and equilibrium from many short runs that were started out of equilibrium.

How often a state was visited depends on where the runs were started; how often it is left for another does not. So
counted are transitions within each run, never across two, and the most likely reversible transition matrix behind them
gives timescales and the equilibrium, whatever the starts (Prinz et al., J. Chem. Phys. 134, 174105 (2011)). Counts read
in both directions, or plain averages, would be biased here. What remains is the error of the states: within one, a run
must forget where it started in less than the lag.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from deeptime.markov.tools.estimation import largest_connected_set, transition_matrix
from jaxtyping import Float, Int

LONGEST_RUN = 1e6
"""Lags that a timescale is cut at: no data could tell it from infinity."""


def transition_counts(
    runs: Sequence[Int[np.ndarray, "_frame"]], lag_frames: int, n_states: int
) -> Int[np.ndarray, "run state state"]:
    """Transitions at a lag in each run, sliding window."""
    counts = np.zeros((len(runs), n_states, n_states), dtype=np.int32)
    for table, states in zip(counts, runs, strict=True):
        np.add.at(table, (states[:-lag_frames], states[lag_frames:]), 1)
    return counts


@dataclass(frozen=True)
class MarkovEstimate:
    """The most likely reversible chain behind transition counts.

    Args:
        active: the largest set of states that were left for each other, to which all else refers.
        counts: transitions among them.
        matrix: transition matrix.
        lag_ps: lag of the transitions.
    """

    active: Int[np.ndarray, "active"]
    counts: Float[np.ndarray, "active active"]
    matrix: Float[np.ndarray, "active active"]
    lag_ps: float

    @classmethod
    def from_counts(cls, counts: Int[np.ndarray, "state state"], lag_ps: float) -> "MarkovEstimate":
        """The chain on the largest connected set of states."""
        active = np.sort(np.asarray(largest_connected_set(counts, directed=True)))
        kept = counts[np.ix_(active, active)].astype(np.float64)
        if len(active) == 1:
            return cls(active, kept, np.ones((1, 1)), lag_ps)
        matrix = np.asarray(transition_matrix(kept, reversible=True, maxiter=20_000, maxerr=1e-7))
        return cls(active, kept, matrix, lag_ps)

    @cached_property
    def stationary(self) -> Float[np.ndarray, "active"]:
        """The equilibrium distribution."""
        size = len(self.active)
        equations = np.vstack([self.matrix.T - np.eye(size), np.ones((1, size))])
        solution = np.maximum(np.linalg.lstsq(equations, np.r_[np.zeros(size), 1.0], rcond=None)[0], 0)
        return solution / solution.sum()

    @cached_property
    def _spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        # Scaled by the root of the stationary distribution the matrix of a reversible chain is symmetric.
        root = np.sqrt(np.maximum(self.stationary, 1e-300))
        symmetric = root[:, None] * self.matrix / root
        values, vectors = np.linalg.eigh((symmetric + symmetric.T) / 2)
        return values[::-1], vectors[:, ::-1] / root[:, None]

    def timescales_ps(self, number: int) -> Float[np.ndarray, "mode"]:
        """The slowest implied timescales; NaN where the chain has fewer, or they are shorter than can be told."""
        values = self._spectrum[0][1 : number + 1]
        found = np.full(number, np.nan)
        known = values > 0
        longest = np.minimum(values[known], np.exp(-1 / LONGEST_RUN))
        found[: len(values)][known] = -self.lag_ps / np.log(longest)
        return found

    def eigenfunction(self, mode: int) -> tuple[float, Float[np.ndarray, "active"]]:
        """An eigenvalue and its right eigenvector of unit norm in equilibrium; mode 1 is the slowest process."""
        values, vectors = self._spectrum
        return float(values[mode]), vectors[:, mode]


def resampled_timescales(
    counts: Int[np.ndarray, "run state state"],
    lag_ps: float,
    number: int,
    resamples: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "resample mode"]:
    """The slowest timescales of resamples of whole runs: for their intervals."""
    drawn = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples)
    found = [MarkovEstimate.from_counts(np.tensordot(each, counts, 1), lag_ps).timescales_ps(number) for each in drawn]
    return np.array(found).reshape(resamples, number)
