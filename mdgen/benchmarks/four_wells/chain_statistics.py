"""Statistics of chains over bins and of estimates of their laws."""

import math

import numpy as np
from jaxtyping import Float, Int

from mdgen.benchmarks.four_wells.four_wells_chain import FourWells
from mdgen.models.batches import PairBatch

HIGHEST_KT = 5.0
"""Free energies are compared in the bins where the exact one is at most this far above its minimum."""


def count_matrix(pairs: PairBatch, n_bins: int) -> Float[np.ndarray, "bin bin"]:
    """Weighted number of transitions between bins."""
    counts = np.zeros((n_bins, n_bins))
    weights = np.ones(len(pairs.now)) if pairs.weights is None else pairs.weights.numpy()
    np.add.at(counts, (pairs.now.numpy(), pairs.later.numpy()), weights)
    return counts


def lagged_timescales(chain: Int[np.ndarray, "step"], wells: FourWells, lag: int) -> Float[np.ndarray, "3"]:
    """`timescales` of a chain at a lag."""
    n_bins = len(wells.centres)
    joint = np.bincount(chain[:-lag] * n_bins + chain[lag:], minlength=n_bins**2)
    return timescales(joint.reshape(n_bins, n_bins).astype(float), lag)


def timescales(counts: Float[np.ndarray, "bin bin"], lag: int) -> Float[np.ndarray, "3"]:
    """The three slowest timescales of the Markov state model with symmetrised counts, as the encoder symmetrises."""
    symmetric = counts + counts.T
    visited = symmetric.sum(1) > 0
    symmetric = symmetric[visited][:, visited]
    root = np.sqrt(symmetric.sum(1))
    values = np.linalg.eigvalsh(symmetric / root[:, None] / root[None, :])[::-1]
    return -lag / np.log(values[1:4])


def correlations(
    first: Float[np.ndarray, "bin mode"], second: Float[np.ndarray, "bin mode"], weights: Float[np.ndarray, "bin"]
) -> Float[np.ndarray, "mode"]:
    """Correlation of each mode of `first` with the same mode of `second`, weighted over the bins."""
    first, second = (values - weights @ values for values in (first, second))
    scale = np.sqrt((weights @ first**2) * (weights @ second**2))
    return (weights @ (first * second)) / scale


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
