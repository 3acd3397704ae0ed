"""Path statistics of MDGen for interpolations: paths between two metastable states against the reference's bridges.

Each generated trajectory is a path from one state to another; it is read every lag, and at its last frame. The paths
are compared with those of the reference's coarse model that have the same ends and the same number of steps. Shorter
dynamics have a coarse model too, in the same states, whose bridges are compared likewise: the replica models of MDGen.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mdgen.evaluation.protocols.metastable_states import CoarseModel, coarse_model
from mdgen.evaluation.protocols.peptide_torsions import TorsionSeries
from mdgen.evaluation.protocols.protocol import bounded_interval
from mdgen.evaluation.statistics.distributions import jensen_shannon
from mdgen.evaluation.statistics.intervals import bootstrap_weights
from mdgen.evaluation.statistics.markov import count_matrices
from mdgen.evaluation.statistics.transition_paths import bridge_occupancy, path_log_probability, rarest_pair
from mdgen.results import Estimate

LARGEST_JSD = float(np.log(2) ** 0.5)
MOST_STRETCHES = 30
"""Stretches of dynamics that are judged at most."""


@dataclass(frozen=True)
class PathEnds:
    """What paths have in common.

    Args:
        start: metastable state of the first frame.
        end: metastable state of the last frame.
        steps: lags from the one to the other.
    """

    start: int
    end: int
    steps: int


@dataclass(frozen=True)
class PathStatistics:
    """Statistics of an ensemble of paths, one value a path.

    Args:
        ends: what the paths have in common.
        visits: visits of each state, both ends included.
        probability: probability of the path under the reference's model, given both ends; 0 where it cannot happen.
        expected: share of visits of each state on the bridges of the reference.
    """

    ends: PathEnds
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
                "path_jsd": (jensen_shannon(visits, np.broadcast_to(self.expected, visits.shape)), LARGEST_JSD),
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
    ends = PathEnds(int(paths[0, 0]), int(paths[0, -1]), paths.shape[1] - 1)
    if ends.start not in model.active or ends.end not in model.active:
        return None
    number = len(model.matrix)
    visits = np.array([np.bincount(path, minlength=number) for path in paths], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        probability = np.nan_to_num(np.exp(path_log_probability(model.matrix, known_states(model)[paths])))
    return PathStatistics(ends, visits, probability, visited_shares(model, ends))


def replica_statistics(replica: CoarseModel, model: CoarseModel, ends: PathEnds) -> dict[str, float]:
    """The same numbers of the bridges of shorter dynamics, which has a coarse model of its own in the same states.

    The original draws 1,000 bridges; here the numbers are their exact expectations. Dynamics that do not lead from one
    end to the other score as badly as can be.
    """
    known = known_states(model)
    allowed = model.matrix[np.ix_(known, known)]
    own, valid, likely, theirs = (
        float(np.linalg.matrix_power(matrix, ends.steps)[ends.start, ends.end])
        for matrix in (replica.matrix, replica.matrix * (allowed > 0), replica.matrix * allowed, model.matrix)
    )
    if own == 0 or theirs == 0:
        return {"path_jsd": LARGEST_JSD, "path_valid_share": 0.0, "path_probability/all": 0.0}
    jsd = jensen_shannon(visited_shares(replica, ends)[None], visited_shares(model, ends)[None])
    found = {"path_jsd": float(jsd[0]), "path_valid_share": valid / own, "path_probability/all": likely / own / theirs}
    return found | ({"path_probability/valid": likely / valid / theirs} if valid > 0 else {})


def replica_paths(
    states: Int[np.ndarray, "frame"],
    series: TorsionSeries,
    lag_ps: float,
    stretches: int,
    model: CoarseModel,
    ends: PathEnds,
    resamples: int,
    rng: np.random.Generator,
) -> dict[str, Estimate]:
    """`replica_statistics` of dynamics cut into equal stretches: means over these, with intervals.

    Args:
        states: metastable states of all frames.
        series: the dynamics.
        lag_ps: lag of the coarse models.
        stretches: number of stretches; not more than `MOST_STRETCHES` of them are judged.
        model: coarse model of the reference.
        ends: ends and length of the paths.
        resamples: resamples of the bootstrap, over stretches; over bootstrap units where there is only one.
        rng: random numbers.
    """
    whole = stretches == 1
    pieces = series.units if whole else np.arange(series.n_frames) * stretches // series.n_frames
    # Transitions from one stretch to the next are of neither; from unit to unit they are of the dynamics as a whole.
    apart = series.trajectory if whole else series.trajectory * stretches + pieces
    counts = count_matrices(states, apart, pieces, series.lag_frames(lag_ps), len(model.matrix))
    if not whole:
        counts = counts[np.linspace(0, len(counts) - 1, min(len(counts), MOST_STRETCHES)).astype(int)]
    weights = np.vstack([np.ones(len(counts)), bootstrap_weights(len(counts), resamples, rng)])
    models = np.tensordot(weights, counts, axes=1) if whole else counts
    found = [replica_statistics(coarse_model(each), model, ends) for each in models]
    estimates = {}
    for name in dict.fromkeys(name for each in found for name in each):
        values = np.array([each.get(name, np.nan) for each in found])
        if not whole:
            known = np.isfinite(values)
            with np.errstate(invalid="ignore"):
                values = weights[:, known] @ values[known] / weights[:, known].sum(1)
        if np.isfinite(values[0]):
            highest = LARGEST_JSD if name == "path_jsd" else 1.0
            estimates[name] = bounded_interval(values[0], values[1:], 0.0, highest)
    return estimates


def visited_shares(model: CoarseModel, ends: PathEnds) -> Float[np.ndarray, "state"]:
    """Expected share of the visits of a bridge in each state, both ends included."""
    inner = bridge_occupancy(model.matrix, ends.start, ends.end, ends.steps) * (ends.steps - 1)
    return (inner + np.bincount([ends.start, ends.end], minlength=len(model.matrix))) / (ends.steps + 1)


def known_states(model: CoarseModel) -> Int[np.ndarray, "state"]:
    """The state that each counts as: those that the model does not hold as its most probable one, as the original."""
    states = np.arange(len(model.matrix))
    return np.where(np.isin(states, model.active), states, int(model.stationary.argmax()))


def rarest_ends(model: CoarseModel) -> tuple[int, int] | None:
    """The two states between which paths are rarest but not absent; None where there is no pair."""
    return rarest_pair(model.stationary[:, None] * model.matrix)


def coarse_paths(
    states: Int[np.ndarray, "frame"], series: TorsionSeries, lag_ps: float
) -> Int[np.ndarray, "path step"] | None:
    """The states of each trajectory every lag and at its last frame; None if they are no paths between two states.

    One that ends elsewhere is enough: rollouts from one state mostly end in the most populated one, and are no paths.
    """
    length = series.lengths[0]
    if len(series.lengths) < 2 or len(set(series.lengths)) > 1:
        return None
    read = np.unique([*range(0, length, series.lag_frames(lag_ps)), length - 1])
    paths = states.reshape(-1, length)[:, read]
    ends = paths[:, [0, -1]]
    if len(read) < 3 or (ends != ends[0]).any() or ends[0, 0] == ends[0, 1]:
        return None
    return paths
