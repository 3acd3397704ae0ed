"""Markov states of the reference: k-means on its slow coordinates, lumped by PCCA+ into metastable sets."""

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
    """K-means states of the reference's slow coordinates, and the lumped state of each."""

    def __init__(self, coordinates: Float[np.ndarray, "frame mode"], n_states: int, seed: int) -> None:
        sample = coordinates[:: max(1, len(coordinates) // KMEANS_FRAMES)].astype(np.float64)
        n_states = min(n_states, len(np.unique(sample, axis=0)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # centres need not converge to the last digit
            self._model = KMeans(n_states, max_iter=50, fixed_seed=seed or 1, n_jobs=1).fit_fetch(sample)
        self.centres = np.asarray(self._model.cluster_centers)
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
        return self._model.transform(np.ascontiguousarray(coordinates, dtype=np.float64), n_jobs=1)

    def lump(self, counts: Float[np.ndarray, "state state"], n_macrostates: int) -> None:
        """Lump by PCCA+ (Roeblitz and Weber, 2013), most populated first; unconnected states join the nearest."""
        active = connected_set(counts)
        matrix = transition_matrix(counts[np.ix_(active, active)])
        label = np.zeros(len(active), dtype=np.int32)
        for number in range(min(n_macrostates, len(active) - 1), 1, -1):
            try:
                label = np.asarray(pcca(matrix, number).assignments, dtype=np.int32)
                break
            except (ValueError, ArithmeticError, np.linalg.LinAlgError):
                continue  # no metastable sets for coinciding or complex eigenvalues: try fewer
        population = np.bincount(label, weights=counts.sum(1)[active])
        rank = np.empty(len(population), dtype=np.int32)
        rank[np.argsort(-population)] = np.arange(len(population))
        _, present = np.unique(rank[label], return_inverse=True)
        nearest = cKDTree(self.centres[active]).query(self.centres)[1]
        self.macrostate = present.astype(np.int32)[nearest]
