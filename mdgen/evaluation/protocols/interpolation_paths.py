"""Path statistics of MDGen for interpolations: paths between two metastable states against the reference's bridges.

Each generated trajectory is a path from one state to another; it is read every lag, and at its last frame. The paths
are compared with those of the reference's coarse model that have the same ends and the same number of steps.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mdgen.evaluation.protocols.metastable_states import CoarseModel
from mdgen.evaluation.protocols.peptide_torsions import TorsionSeries
from mdgen.evaluation.protocols.protocol import bounded_interval
from mdgen.evaluation.statistics.distributions import jensen_shannon
from mdgen.evaluation.statistics.intervals import bootstrap_weights
from mdgen.evaluation.statistics.transition_paths import bridge_occupancy, path_log_probability
from mdgen.results import Estimate


@dataclass(frozen=True)
class PathStatistics:
    """Statistics of an ensemble of paths, one value a path.

    Args:
        visits: visits of each state, both ends included.
        probability: probability of the path under the reference's model, given both ends; 0 where it cannot happen.
        expected: share of visits of each state on the bridges of the reference.
    """

    visits: Float[np.ndarray, "path state"]
    probability: Float[np.ndarray, "path"]
    expected: Float[np.ndarray, "state"]

    def estimates(self, resamples: int, rng: np.random.Generator) -> dict[str, Estimate]:
        """Occupancy JSD, share of valid paths, and mean probability of all paths and of valid ones."""
        weights = np.vstack([np.ones(len(self.visits)), bootstrap_weights(len(self.visits), resamples, rng)])
        valid = (self.probability > 0).astype(np.float64)
        visits = weights @ self.visits
        with np.errstate(invalid="ignore"):
            found = {
                "path_jsd": (jensen_shannon(visits, np.broadcast_to(self.expected, visits.shape)), np.log(2) ** 0.5),
                "path_valid_share": (weights @ valid / weights.sum(1), 1.0),
                "path_probability/all": (weights @ self.probability / weights.sum(1), 1.0),
                "path_probability/valid": (weights @ self.probability / (weights @ valid), 1.0),
            }
        return {
            name: bounded_interval(values[0], values[1:], 0.0, high)
            for name, (values, high) in found.items()
            if np.isfinite(values[0])
        }


def path_statistics(
    states: Int[np.ndarray, "frame"], series: TorsionSeries, lag_ps: float, model: CoarseModel
) -> PathStatistics | None:
    """Statistics of trajectories that are interpolations; None where they are not.

    They are interpolations if there are several, all of one length, which start in one metastable state and end in
    another. The original compares with 1,000 sampled bridges; here their expected occupancy is exact.
    """
    paths = coarse_paths(states, series, lag_ps)
    if paths is None:
        return None
    start, end = int(paths[0, 0]), int(paths[0, -1])
    if start not in model.active or end not in model.active:
        return None
    steps, number = paths.shape[1] - 1, len(model.matrix)
    inner = bridge_occupancy(model.matrix, start, end, steps) * max(steps - 1, 1)
    ends = np.bincount([start, end], minlength=number)
    # States that the reference's model does not hold count as its most probable one, as in the original.
    known = np.where(np.isin(paths, model.active), paths, int(model.stationary.argmax()))
    visits = np.array([np.bincount(path, minlength=number) for path in paths], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        probability = np.nan_to_num(np.exp(path_log_probability(model.matrix, known)))
    return PathStatistics(visits, probability, (inner + ends) / (steps + 1))


def coarse_paths(
    states: Int[np.ndarray, "frame"], series: TorsionSeries, lag_ps: float
) -> Int[np.ndarray, "path step"] | None:
    """The states of each trajectory every lag and at its last frame; None if they are no paths between two states."""
    length = series.lengths[0]
    if len(series.lengths) < 2 or len(set(series.lengths)) > 1:
        return None
    read = np.unique([*range(0, length, series.lag_frames(lag_ps)), length - 1])
    paths = states.reshape(-1, length)[:, read]
    ends = paths[:, [0, -1]]
    if len(read) < 3 or (ends != ends[0]).any() or ends[0, 0] == ends[0, 1]:
        return None
    return paths
