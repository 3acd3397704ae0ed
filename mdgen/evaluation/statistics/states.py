"""States of the reference: k-means on its slow coordinates, lumped by PCCA into the few that matter."""

import warnings

import numpy as np
from deeptime.clustering import KMeans
from deeptime.markov import pcca
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from mdgen.evaluation.statistics.markov import connected_set, transition_matrix

KMEANS_FRAMES = 30_000
"""Frames, spread evenly, on which the centres are placed."""


class States:
    """K-means states of the reference's slow coordinates, and which of them belong together.

    Args:
        coordinates: of the reference's frames.
        n_states: centres.
        seed: of k-means.
    """

    def __init__(self, coordinates: Float[np.ndarray, "frame mode"], n_states: int, seed: int) -> None:
        sample = coordinates[:: max(1, len(coordinates) // KMEANS_FRAMES)].astype(np.float64)
        n_states = min(n_states, len(np.unique(sample, axis=0)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the last digits of the centres still move is of no concern here
            model = KMeans(n_states, max_iter=50, fixed_seed=seed or 1, n_jobs=1).fit_fetch(sample)
        self.centres = np.asarray(model.cluster_centers)
        self._tree = cKDTree(self.centres)
        self.macrostate = np.zeros(len(self.centres), dtype=np.int32)

    @property
    def number(self) -> int:
        """Number of states."""
        return len(self.centres)

    @property
    def n_macrostates(self) -> int:
        """Number of lumped states."""
        return int(self.macrostate.max()) + 1

    def assign(self, coordinates: Float[np.ndarray, "frame mode"]) -> Int[np.ndarray, "frame"]:
        """The nearest centre of each frame."""
        return self._tree.query(coordinates, workers=-1)[1].astype(np.int32)

    def lump(self, counts: Float[np.ndarray, "state state"], n_macrostates: int) -> None:
        """Lump by PCCA+ (Roeblitz and Weber, 2013), most populated first; a state never left joins its neighbour."""
        active = connected_set(counts)
        matrix = transition_matrix(counts[np.ix_(active, active)])
        label = np.zeros(len(active), dtype=np.int32)
        for number in range(min(n_macrostates, len(active) - 1), 1, -1):
            try:
                label = np.asarray(pcca(matrix, number).assignments, dtype=np.int32)
                break
            except (ValueError, ArithmeticError, np.linalg.LinAlgError):
                continue  # eigenvalues that coincide or are complex cannot be lumped: try fewer
        population = np.bincount(label, weights=counts.sum(1)[active])
        rank = np.empty(len(population), dtype=np.int32)
        rank[np.argsort(-population)] = np.arange(len(population))
        _, present = np.unique(rank[label], return_inverse=True)
        nearest = cKDTree(self.centres[active]).query(self.centres)[1]
        self.macrostate = present.astype(np.int32)[nearest]
