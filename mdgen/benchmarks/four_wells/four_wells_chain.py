"""A Markov chain over four wells on a line, small enough to be solved exactly.

The chain of Sidky, Chen and Ferguson (Chem. Sci. 11, 9459 (2020)) on 100 bins of [-1, 1], with

    V(x) = 2 (x^8 + 0.8 exp(-80 x^2) + 0.2 exp(-80 (x - 0.5)^2) + 0.5 exp(-40 (x + 0.5)^2)),
    p(j | i) proportional to exp(-(V_j - V_i)) for |i - j| <= 1.

Lengths, energies (kT) and times (steps) have no units here.
"""

import math
from functools import cached_property
from typing import no_type_check

import numba
import numpy as np
import torch
from jaxtyping import Float, Int

from mdgen.evaluation.statistics import markov

HIGHEST_KT = 5.0
"""Free energies are compared in the bins where the exact one is at most this far above its minimum."""

_BINS = 100


def potential(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """V(x) in kT."""
    wells = 0.8 * np.exp(-80 * x**2) + 0.2 * np.exp(-80 * (x - 0.5) ** 2) + 0.5 * np.exp(-40 * (x + 0.5) ** 2)
    return 2 * (x**8 + wells)


class FourWells:
    """The chain with its exact spectrum and a sampler.

    >>> FourWells().timescales.round(1)
    array([6038.9,  922.4,  475.1])
    """

    @cached_property
    def centres(self) -> Float[np.ndarray, "bin"]:
        """Centres of the bins: 100 points from -1 to 1, both included, as the published timescales require."""
        return np.linspace(-1, 1, _BINS)

    @cached_property
    def transition_matrix(self) -> Float[np.ndarray, "bin bin"]:
        """Row i holds p(. | i)."""
        energy = potential(self.centres)
        weight = np.exp(energy[:, None] - energy[None, :])
        weight[np.abs(np.subtract.outer(np.arange(_BINS), np.arange(_BINS))) > 1] = 0
        return weight / weight.sum(axis=1, keepdims=True)

    @cached_property
    def stationary(self) -> Float[np.ndarray, "bin"]:
        """The stationary distribution, from detailed balance along the line."""
        matrix = self.transition_matrix
        ratios = np.diag(matrix, 1) / np.diag(matrix, -1)
        weight = np.concatenate([[1.0], np.cumprod(ratios)])
        return weight / weight.sum()

    @cached_property
    def _spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        # The chain is reversible: scaled by the root of the stationary distribution, its matrix is symmetric.
        root = np.sqrt(self.stationary)
        symmetric = root[:, None] * self.transition_matrix / root[None, :]
        values, vectors = np.linalg.eigh((symmetric + symmetric.T) / 2)
        return values[::-1], vectors[:, ::-1] / root[:, None]

    @property
    def timescales(self) -> Float[np.ndarray, "3"]:
        """The three slow relaxation times in steps, slowest first."""
        return -1 / np.log(self._spectrum[0][1:4])

    def eigenvalues(self, lag: int, count: int = 3) -> Float[np.ndarray, "mode"]:
        """The largest eigenvalues after 1 at a lag, slowest first."""
        return self._spectrum[0][1 : count + 1] ** lag

    def eigenfunctions(self, count: int = 3) -> Float[np.ndarray, "bin mode"]:
        """The slowest right eigenvectors after the constant one, of unit variance, positive in the rightmost bin."""
        functions = self._spectrum[1][:, 1 : count + 1]
        return functions * np.sign(functions[-1])

    def lagged_matrix(self, lag: int) -> Float[np.ndarray, "bin bin"]:
        """The transition matrix over `lag` steps."""
        return np.linalg.matrix_power(self.transition_matrix, lag)

    def bin_of(self, x: Float[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
        """The bin whose centre is nearest to each position; positions outside count to the outermost bins."""
        return np.clip(np.rint((np.asarray(x) + 1) * ((_BINS - 1) / 2)).astype(np.int64), 0, _BINS - 1)

    def sample(self, n_steps: int, generator: torch.Generator, n_trajectories: int = 1) -> Int[np.ndarray, "traj step"]:
        """Bins along stationary trajectories; about 3e7 steps per second."""
        seeds = torch.randint(2**62, (n_trajectories + 1,), generator=generator).numpy()
        starts = np.random.default_rng(int(seeds[0])).choice(_BINS, size=n_trajectories, p=self.stationary)
        matrix = self.transition_matrix
        down = np.concatenate([[0.0], np.diag(matrix, -1)])
        stay = down + np.diag(matrix)
        trajectories = np.empty((n_trajectories, n_steps), dtype=np.int64)
        for row, start, seed in zip(trajectories, starts, seeds[1:], strict=True):
            random = np.random.default_rng(int(seed))
            now = int(start)
            for first in range(0, n_steps, 1_000_000):
                block = row[first : first + 1_000_000]
                now = _walk(now, random.random(len(block)), down, stay, block)
        return trajectories


@numba.njit(cache=True)
@no_type_check  # numba compiles the plain function, without the checks that tests add
def _walk(now: int, uniform: np.ndarray, down: np.ndarray, stay: np.ndarray, out: np.ndarray) -> int:
    """Fill `out` with the bins from `now` on; returns the first bin of the next block."""
    for step in range(len(uniform)):
        out[step] = now
        if uniform[step] < down[now]:
            now -= 1
        elif uniform[step] >= stay[now] and now < len(down) - 1:
            now += 1
    return now


def count_matrix(
    now: Int[np.ndarray, "pair"], later: Int[np.ndarray, "pair"], weights: Float[np.ndarray, "pair"] | None = None
) -> Float[np.ndarray, "bin bin"]:
    """Weighted number of transitions between bins."""
    counts = np.bincount(now * _BINS + later, weights, minlength=_BINS**2)
    return counts.reshape(_BINS, _BINS).astype(float)


def timescales(counts: Float[np.ndarray, "bin bin"], lag: int) -> Float[np.ndarray, "3"]:
    """The three slowest timescales of the Markov state model with symmetrised counts, as the encoder symmetrises."""
    visited = np.flatnonzero(counts.sum(0) + counts.sum(1))
    return markov.timescales(markov.eigenvalues(*markov.symmetrised(counts[np.ix_(visited, visited)]))[1:4], float(lag))


def correlations(
    first: Float[np.ndarray, "bin mode"], second: Float[np.ndarray, "bin mode"], weights: Float[np.ndarray, "bin"]
) -> Float[np.ndarray, "mode"]:
    """Correlation of each mode of `first` with the same mode of `second`, weighted over the bins."""
    first, second = (values - weights @ values for values in (first, second))
    return (weights @ (first * second)) / np.sqrt((weights @ first**2) * (weights @ second**2))


def total_variation(first: Float[np.ndarray, "bin"], second: Float[np.ndarray, "bin"]) -> float:
    """Total variation distance of two distributions over the bins."""
    return float(np.abs(first - second).sum() / 2)


def free_energy_error(law: Float[np.ndarray, "bin"], exact: Float[np.ndarray, "bin"]) -> float:
    """Root mean square difference in kT over the bins within `HIGHEST_KT`, minimised over a constant.

    Infinite if one of these bins is empty.
    """
    low = exact > exact.max() * math.exp(-HIGHEST_KT)
    if (law[low] <= 0).any():
        return math.inf
    return float(np.std(np.log(law[low]) - np.log(exact[low])))
