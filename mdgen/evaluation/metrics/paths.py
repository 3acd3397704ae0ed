"""Transition paths of rows: bridges of a row's own Markov model compared with those of the target's."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.kinetics import lumped_counts
from mdgen.evaluation.metrics.target import Description, MetricFamily, Target, distance
from mdgen.evaluation.statistics.block_permutation import BlockPermutation
from mdgen.evaluation.statistics.distributions import jensen_shannon
from mdgen.evaluation.statistics.intervals import bootstrap_weights, estimates, percentile_interval
from mdgen.evaluation.statistics.markov import connected_set, transition_matrix
from mdgen.evaluation.statistics.observables import Observables
from mdgen.evaluation.statistics.transition_paths import (
    bridge_occupancy,
    path_log_probability,
    rarest_pair,
    sample_bridges,
)
from mdgen.results import Estimate

PATHS, STEPS = 500, 20
"""Paths sampled for a row, and their length in lags."""

PATH_DRAWS = 40
"""Draws of a block permutation for which paths are made; each takes two fits of a chain."""


class PathMetrics(MetricFamily):
    """Paths of rows between the two lumped states of lowest flux."""

    needs: ClassVar = ("states",)
    descriptions: ClassVar = {
        "path_valid_share": distance(
            "Valid paths",
            "share of paths between the two lumped states of lowest flux, 20 lags long, drawn from the row's own "
            "Markov model, that the reference's model allows.",
        ),
        "path_occupancy_jsd": distance(
            "Path JSD",
            "Jensen-Shannon distance of the states visited on those paths from the exact bridges of the reference's "
            "model.",
        ),
        "path_log_probability": Description(
            "Path ln p", "mean log-probability of the valid paths under the reference's model, given their ends."
        ),
    }

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        counts = lumped_counts(target, target.data)
        total = np.zeros((1, 1)) if counts is None else counts.sum(0)
        self.ends = rarest_pair(total + total.T)
        self.matrix = _chain(total)
        self.occupancy = bridge_occupancy(self.matrix, *self.ends, STEPS) if self.ends else np.zeros(1)

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`path_occupancy_jsd`, `path_valid_share`, and `path_log_probability` of the valid ones."""
        counts = lumped_counts(self.target, row)
        if counts is None or self.ends is None:
            return {}
        rng = self.target.rng()
        resamples = max(2, self.settings.resamples // 4)
        weights = [np.ones(len(counts)), *bootstrap_weights(len(counts), resamples, rng)]
        occupancy, valid, probability = np.array([self._judge(np.tensordot(w, counts, axes=1), rng) for w in weights]).T
        shares = estimates({"path_valid_share": valid}, percentile_interval)
        distances = estimates({"path_occupancy_jsd": occupancy})
        return {**shares, **distances, **estimates({"path_log_probability": probability}, percentile_interval)}

    def permuted(self, blocks: BlockPermutation) -> dict[str, Float[np.ndarray, "draw"]]:
        """Scores of dynamics against itself, draw by draw."""
        counts = lumped_counts(self.target, blocks.pool)
        if counts is None or self.ends is None:
            return {}
        occupancies = [
            [bridge_occupancy(_chain(np.tensordot(w, counts, axes=1)), *self.ends, STEPS) for w in weights[:PATH_DRAWS]]
            for weights in (blocks.row, blocks.target)
        ]
        return {"path_occupancy_jsd": jensen_shannon(*(np.array(found) for found in occupancies))}

    def _judge(self, counts: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
        """Occupancy distance, valid share and mean log-probability; without any path the valid share is 0."""
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


def _chain(counts: np.ndarray) -> Float[np.ndarray, "state state"]:
    """The reversible chain of the connected states; the others cannot be entered or left."""
    matrix = np.eye(len(counts))
    if counts.sum() > 0:
        active = connected_set(counts)
        matrix[np.ix_(active, active)] = transition_matrix(counts[np.ix_(active, active)])
    return matrix
