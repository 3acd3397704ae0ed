"""A Markov chain over four wells on a line, small enough to be solved exactly.

The chain of Sidky, Chen and Ferguson (Chem. Sci. 11, 9459 (2020)) on 100 bins of [-1, 1], with

    V(x) = 2 (x^8 + 0.8 exp(-80 x^2) + 0.2 exp(-80 (x - 0.5)^2) + 0.5 exp(-40 (x + 0.5)^2)),
    p(j | i) proportional to exp(-(V_j - V_i)) for |i - j| <= 1.

Lengths, energies (kT) and times (steps) have no units here.
"""

from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int

from mdgen.benchmarks.exact_chains import ExactChain
from mdgen.evaluation.statistics import markov

_BINS = 100


def potential(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """V(x) in kT."""
    wells = 0.8 * np.exp(-80 * x**2) + 0.2 * np.exp(-80 * (x - 0.5) ** 2) + 0.5 * np.exp(-40 * (x + 0.5) ** 2)
    return 2 * (x**8 + wells)


class FourWells(ExactChain):
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
    def moves(self) -> tuple[Int[np.ndarray, "bin move"], Float[np.ndarray, "bin move"]]:
        """Down, stay and up, with their probabilities."""
        to = np.clip(np.arange(_BINS)[:, None] + [-1, 0, 1], 0, _BINS - 1)
        down, up = (np.diag(self.transition_matrix, side) for side in (-1, 1))
        return to, np.stack([np.r_[0.0, down], np.diag(self.transition_matrix), np.r_[up, 0.0]], axis=1)

    def eigenfunctions(self, count: int = 3) -> Float[np.ndarray, "bin mode"]:
        """The slowest right eigenvectors after the constant one, of unit variance, positive in the rightmost bin."""
        functions = super().eigenfunctions(count)
        return functions * np.sign(functions[-1])

    def lagged_matrix(self, lag: int) -> Float[np.ndarray, "bin bin"]:
        """The transition matrix over `lag` steps."""
        return np.linalg.matrix_power(self.transition_matrix, lag)

    def bin_of(self, x: Float[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
        """The bin whose centre is nearest to each position; positions outside count to the outermost bins."""
        return np.clip(np.rint((np.asarray(x) + 1) * ((_BINS - 1) / 2)).astype(np.int64), 0, _BINS - 1)

    def sample(self, n_steps: int, generator: torch.Generator, n_trajectories: int = 1) -> Int[np.ndarray, "traj step"]:
        """Bins along stationary trajectories."""
        seeds = torch.randint(2**62, (n_trajectories + 1,), generator=generator).numpy()
        starts = np.random.default_rng(int(seeds[0])).choice(_BINS, size=n_trajectories, p=self.stationary)
        trajectories = np.empty((n_trajectories, n_steps), dtype=np.int64)
        for row, start, seed in zip(trajectories, starts, seeds[1:], strict=True):
            row[:] = self.sample_path(int(start), n_steps, np.random.default_rng(int(seed)))
        return trajectories


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
