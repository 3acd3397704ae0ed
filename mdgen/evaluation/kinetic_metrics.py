"""Kinetics of rows in one discretisation, that of the reference: implied timescales of a Markov state model."""

import numpy as np
from deeptime.clustering import KMeans
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from mdgen.evaluation.intervals import bootstrap_weights, ratio_interval
from mdgen.evaluation.markov import connected_set, count_matrices, slowest_timescales
from mdgen.evaluation.observables import Observables
from mdgen.evaluation.settings import Settings
from mdgen.results import Estimate

KMEANS_FRAMES = 30_000
"""Frames, spread evenly, on which the centres are placed."""


class States:
    """K-means states of the reference's slow coordinates.

    Args:
        coordinates: of the reference's frames.
        n_states: centres.
        seed: of k-means.
    """

    def __init__(self, coordinates: Float[np.ndarray, "frame mode"], n_states: int, seed: int) -> None:
        sample = coordinates[:: max(1, len(coordinates) // KMEANS_FRAMES)].astype(np.float64)
        n_states = min(n_states, len(np.unique(sample, axis=0)))
        model = KMeans(n_states, max_iter=100, fixed_seed=seed or 1, n_jobs=1).fit_fetch(sample)
        self.centres = np.asarray(model.cluster_centers)
        self._tree = cKDTree(self.centres)

    @property
    def number(self) -> int:
        """Number of states."""
        return len(self.centres)

    def assign(self, coordinates: Float[np.ndarray, "frame mode"]) -> Int[np.ndarray, "frame"]:
        """The nearest centre of each frame."""
        return self._tree.query(coordinates, workers=-1)[1].astype(np.int32)


class KineticMetrics:
    """Measures the kinetics of rows; the column `states` holds the states.

    Args:
        n_states: states of the discretisation.
        lag_ps: of the Markov state model.
        settings: number of timescales and resamples.
    """

    def __init__(self, n_states: int, lag_ps: float, settings: Settings) -> None:
        self.n_states, self.lag_ps, self.settings = n_states, lag_ps, settings

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`timescale_ps/1` and on, and `connected_share`, the share of frames in the largest connected set."""
        counts = self.counts(row)
        if counts is None:
            return {}
        total = counts.sum(0)
        active = connected_set(total)
        result = self._timescales(counts)
        result["connected_share"] = Estimate(float(total[active].sum() / max(total.sum(), 1)))
        return result

    def counts(self, row: Observables) -> Float[np.ndarray, "unit state state"] | None:
        """Transition counts at the lag by bootstrap unit; None where no trajectory is longer than the lag."""
        lag = max(1, round(self.lag_ps / row.frame_spacing_ps))
        if max(row.lengths, default=0) <= lag:
            return None
        return count_matrices(row["states"], row.trajectory, row.units, lag, self.n_states)

    def _timescales(self, counts: Float[np.ndarray, "unit state state"]) -> dict[str, Estimate]:
        number = self.settings.n_timescales
        values = slowest_timescales(counts.sum(0), self.lag_ps, number)
        rng = np.random.default_rng(self.settings.seed)
        weights = bootstrap_weights(len(counts), max(2, self.settings.resamples // 2), rng)
        samples = np.array(
            [slowest_timescales(np.tensordot(weight, counts, axes=1), self.lag_ps, number) for weight in weights]
        )
        return {f"timescale_ps/{i + 1}": ratio_interval(values[i], samples[:, i]) for i in range(number)}
