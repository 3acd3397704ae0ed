"""Transition paths of rows: bridges of a row's own Markov model held against those of the target's."""

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.kinetic_metrics import KineticMetrics
from mdgen.evaluation.metrics.observables import Observables
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.block_permutation import Deals
from mdgen.evaluation.statistics.distributions import jensen_shannon
from mdgen.evaluation.statistics.intervals import bootstrap_weights, centred_interval, percentile_interval, spread
from mdgen.evaluation.statistics.markov import connected_set, transition_matrix
from mdgen.evaluation.statistics.transition_paths import (
    bridge_occupancy,
    path_log_probability,
    rarest_pair,
    sample_bridges,
)
from mdgen.results import Estimate

PATHS, STEPS = 500, 20
"""Paths sampled for a row, and their length in lags."""

PATH_DEALS = 40
"""Deals of which paths are made; each takes two fits of a chain."""


class PathMetrics:
    """Judges the paths of rows between the two lumped states of lowest flux.

    Args:
        target: what rows are compared with.
        kinetics: its states and lag.
        settings: resamples and seed.
    """

    def __init__(self, target: Observables, kinetics: KineticMetrics, settings: Settings) -> None:
        self.kinetics, self.settings = kinetics, settings
        counts = kinetics.lumped_counts(target)
        total = np.zeros((1, 1)) if counts is None else counts.sum(0)
        self.ends = rarest_pair(total + total.T)
        self.matrix = _chain(total)
        self.occupancy = bridge_occupancy(self.matrix, *self.ends, STEPS) if self.ends else np.zeros(1)

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`path_occupancy_jsd`, `path_valid_share`, and `path_log_probability` of the valid ones."""
        counts = self.kinetics.lumped_counts(row)
        if counts is None or self.ends is None:
            return {}
        rng = np.random.default_rng(self.settings.seed)
        weights = bootstrap_weights(len(counts), max(2, self.settings.resamples // 4), rng)
        samples = [self._judge(np.tensordot(w, counts, axes=1), rng) for w in [np.ones(len(counts)), *weights]]
        distance, valid, probability = np.array(samples).T
        result = {"path_valid_share": percentile_interval(float(valid[0]), valid[1:])}
        if np.isfinite(distance[0]):
            result["path_occupancy_jsd"] = centred_interval(float(distance[0]), distance[1:])
        if np.isfinite(probability[0]):
            result["path_log_probability"] = percentile_interval(float(probability[0]), probability[1:])
        return result

    def dealt(self, deals: Deals) -> dict[str, Estimate]:
        """What dynamics scores against itself, with the spread of its luck."""
        counts = self.kinetics.lumped_counts(deals.pool)
        if counts is None or self.ends is None:
            return {}
        occupancies = [
            [_occupancy(np.tensordot(share, counts, axes=1), self.ends) for share in hand[:PATH_DEALS]]
            for hand in (deals.row, deals.target)
        ]
        return {"path_occupancy_jsd": spread(jensen_shannon(*(np.array(found) for found in occupancies)))}

    def _judge(self, counts: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
        """Occupancy distance, valid share and mean log-probability; no paths at all are no valid ones."""
        assert self.ends is not None
        chain = _chain(counts)
        paths = sample_bridges(chain, *self.ends, STEPS, PATHS, rng)
        if paths is None:
            return float("nan"), 0.0, float("nan")
        inner = bridge_occupancy(chain, *self.ends, STEPS)
        logarithm = path_log_probability(self.matrix, paths)
        valid = np.isfinite(logarithm)
        mean = float(logarithm[valid].mean()) if valid.any() else float("nan")
        return float(jensen_shannon(inner, self.occupancy)), float(valid.mean()), mean


def _occupancy(counts: np.ndarray, ends: tuple[int, int]) -> Float[np.ndarray, "state"]:
    """Where the bridges of these counts' own chain pass."""
    return bridge_occupancy(_chain(counts), *ends, STEPS)


def _chain(counts: np.ndarray) -> np.ndarray:
    """The reversible chain of the connected states; the others cannot be entered or left."""
    matrix = np.eye(len(counts))
    if counts.sum() > 0:
        active = connected_set(counts)
        matrix[np.ix_(active, active)] = transition_matrix(counts[np.ix_(active, active)])
    return matrix
