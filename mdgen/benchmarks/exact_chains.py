"""Markov chains on numbered points that are solved exactly, and how encoders and propagators are judged on them.

A chain says where its points may go; its spectrum, its paths, the training of parts on its pairs and the rows of its
suite are the same for all. Lengths, energies (kT) and times (steps) have no units here.
"""

import functools
import math
from abc import ABC, abstractmethod
from typing import Any, no_type_check

import numba
import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.linalg import eigh

from mdgen.benchmarks.suite import Figures
from mdgen.models.batches import PairBatch, TrainingData
from mdgen.models.encoders.srv import SRV
from mdgen.models.propagators.mdn import MDN
from mdgen.results import Acceptance, Estimate
from mdgen.training.modules import GradientTraining
from mdgen.training.settings import settings_for
from mdgen.training.train import descend

HIGHEST_KT = 5.0
"""Free energies are compared at the points where the exact one is at most this far above its minimum."""

Z_OF_THREE = 2.394
"""Half-width in standard deviations of three intervals that hold simultaneously with 95 % confidence."""

_BLOCK = 1_000_000


class ExactChain(ABC):
    """A reversible chain, small enough that its spectrum is computed from its transition matrix."""

    @property
    @abstractmethod
    def transition_matrix(self) -> Float[np.ndarray, "point point"]:
        """Row i holds p(. | i)."""

    @property
    @abstractmethod
    def stationary(self) -> Float[np.ndarray, "point"]:
        """The stationary distribution."""

    @property
    @abstractmethod
    def moves(self) -> tuple[Int[np.ndarray, "point move"], Float[np.ndarray, "point move"]]:
        """Where each point may go in a step, and with which probability; 0 where there is no such neighbour."""

    @property
    def timescales(self) -> Float[np.ndarray, "3"]:
        """The three slow relaxation times in steps, slowest first."""
        return -1 / np.log(self.eigenvalues(1))

    def eigenvalues(self, lag: int, count: int = 3) -> Float[np.ndarray, "mode"]:
        """The largest eigenvalues after 1 at a lag, slowest first."""
        return reversible_spectrum(self.transition_matrix, self.stationary, count)[0] ** lag

    def eigenfunctions(self, count: int = 3) -> Float[np.ndarray, "point mode"]:
        """The slowest right eigenvectors after the constant one, of unit variance."""
        return reversible_spectrum(self.transition_matrix, self.stationary, count)[1]

    def sample_path(self, start: int, n_steps: int, rng: np.random.Generator) -> Int[np.ndarray, "step"]:
        """Points along a trajectory from `start`, which is its first; some 5e7 steps per second."""
        to, chances = self.moves
        cumulative, path = chances.cumsum(1), np.empty(n_steps, dtype=np.int64)
        for first in range(0, n_steps, _BLOCK):
            block = path[first : first + _BLOCK]
            start = _walk(start, rng.random(len(block)), to, cumulative, block)
        return path


@numba.njit(cache=True)
@no_type_check  # numba compiles the plain function, without the checks that tests add
def _walk(now: int, uniform: np.ndarray, to: np.ndarray, cumulative: np.ndarray, out: np.ndarray) -> int:
    """Fill `out` with the points from `now` on; returns the first point of the next block."""
    last = to.shape[1] - 1
    for step in range(len(uniform)):
        out[step] = now
        move = 0
        for each in range(last):  # without a branch, which the processor would have to guess
            move += uniform[step] >= cumulative[now, each]
        now = to[now, move]
    return now


def reversible_spectrum(
    matrix: Float[np.ndarray, "point point"], stationary: Float[np.ndarray, "point"], count: int
) -> tuple[Float[np.ndarray, "mode"], Float[np.ndarray, "point mode"]]:
    """The `count` largest eigenvalues after 1 of a reversible chain, and their right eigenvectors of unit variance."""
    root = np.sqrt(stationary)  # which scales the matrix to a symmetric one
    symmetric, size = root[:, None] * matrix / root, len(root)
    values, vectors = eigh((symmetric + symmetric.T) / 2, subset_by_index=[size - 1 - count, size - 1])
    return values[-2::-1], vectors[:, -2::-1] / root[:, None]


def train_on_chain(
    part: SRV | MDN, pairs: PairBatch, generator: torch.Generator, label: str, lr: float = 1e-2, **limits: Any
) -> None:
    """Train a part on the pairs of a chain by Adam.

    Args:
        part: encoder or propagator.
        pairs: pairs of the chain's points.
        generator: source of randomness.
        label: name in the progress bar.
        lr: learning rate.
        limits: settings of the training, such as `max_epochs`, where the part's own are not wanted.
    """
    settings = settings_for(part, optimizer=functools.partial(torch.optim.Adam, lr=lr), **limits)
    data = part.prepare(TrainingData(pairs), generator)
    descend(GradientTraining(part, settings, generator), data, label=label)


def judge_encoder(
    encoder: SRV,
    points: Float[torch.Tensor, "point channel"],
    counted: Float[np.ndarray, "3"],
    spread: Float[np.ndarray, "3"],
    chain: ExactChain,
) -> Figures:
    """Timescales and eigenfunctions of a trained encoder beside those of the chain.

    Args:
        encoder: encoder with its spectrum fitted.
        points: coordinates of the points, as the encoder sees them.
        counted: timescales of a Markov state model of the same trajectory.
        spread: standard deviation of such timescales between trajectories of this length.
        chain: the chain.
    """
    learnt, rows = encoder.timescales_ps.numpy(), []
    for mode, exact in enumerate(chain.timescales):
        deviation = Estimate(abs(learnt[mode] / counted[mode] - 1))
        rows.append(Acceptance.below(f"srv_timescale_{mode + 1}_against_msm", deviation, 0.02))
        half = Z_OF_THREE * spread[mode]
        estimate = Estimate(learnt[mode], learnt[mode] - half, learnt[mode] + half)
        bound = f"interval holds the exact {exact:.1f}"
        rows.append(Acceptance.judged(f"srv_timescale_{mode + 1}", estimate, bound, estimate.contains(float(exact))))
    modes = encoder.encode_features(points).detach().double().numpy()
    overlap = correlations(modes, chain.eigenfunctions(), chain.stationary)
    rows += [
        Acceptance.above(f"srv_eigenfunction_{mode + 1}_correlation", Estimate(abs(overlap[mode])), 0.99)
        for mode in range(3)
    ]
    figures = {
        "exact_stationary": chain.stationary,
        "exact_eigenfunctions": chain.eigenfunctions(),
        "exact_timescales": chain.timescales,
        "srv_timescales": learnt,
        "msm_timescales": counted,
        "timescale_sampling_error": spread,
        "srv_eigenfunctions": modes * np.sign(overlap),
    }
    return figures, rows


def judge_propagator(matrix: Float[np.ndarray, "point point"], lag: int, chain: ExactChain) -> Figures:
    """Eigenvalues and stationary distribution of a trained propagator's transition matrix beside those of the chain.

    Args:
        matrix: probabilities of the propagator between the chain's points, row i from point i.
        lag: steps of the propagator's lag.
        chain: the chain.
    """
    values, vectors = np.linalg.eig(matrix.T)
    order = np.argsort(-values.real)
    learnt, stationary = values.real[order][1:4], np.abs(vectors.real[:, order[0]])
    stationary /= stationary.sum()
    exact = chain.eigenvalues(lag)
    deviation = np.abs(learnt - exact)
    rows = [Acceptance.below(f"mdn_eigenvalue_{m + 1}_deviation", Estimate(deviation[m]), 0.02) for m in range(3)]
    variation = Estimate(total_variation(stationary, chain.stationary))
    error = Estimate(free_energy_error(stationary, chain.stationary))
    rows.append(Acceptance.below("mdn_stationary_total_variation", variation, 0.05))
    rows.append(Acceptance.below("mdn_free_energy_rmse_kT", error, 0.15))
    return {"mdn_eigenvalues": learnt, "exact_eigenvalues": exact, "mdn_stationary": stationary}, rows


def correlations(
    first: Float[np.ndarray, "point mode"], second: Float[np.ndarray, "point mode"], weights: Float[np.ndarray, "point"]
) -> Float[np.ndarray, "mode"]:
    """Correlation of each mode of `first` with the same mode of `second`, weighted over the points."""
    first, second = (values - weights @ values for values in (first, second))
    return (weights @ (first * second)) / np.sqrt((weights @ first**2) * (weights @ second**2))


def total_variation(first: Float[np.ndarray, "point"], second: Float[np.ndarray, "point"]) -> float:
    """Total variation distance of two distributions over the points."""
    return float(np.abs(first - second).sum() / 2)


def free_energy_error(law: Float[np.ndarray, "point"], exact: Float[np.ndarray, "point"]) -> float:
    """Root mean square difference in kT over the points within `HIGHEST_KT`, minimised over a constant.

    Infinite if one of these points is empty.
    """
    low = exact > exact.max() * math.exp(-HIGHEST_KT)
    if (law[low] <= 0).any():
        return math.inf
    return float(np.std(np.log(law[low]) - np.log(exact[low])))
