"""Paths that rows take between lumped states, counted from their own frames at the lag.

Paths drawn from a Markov model fitted to a row are of the model, not of the row, and those of shuffled frames look like
any other. Here a path is a stretch of the row itself, `STEPS` lags long, that begins and ends in different lumped
states.
"""

from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.kinetics import lumped_counts
from mdgen.evaluation.metrics.target import JSD, SHARE, Description, MetricFamily, Target, distance
from mdgen.evaluation.statistics.block_permutation import BlockPermutation
from mdgen.evaluation.statistics.distributions import jensen_shannon
from mdgen.evaluation.statistics.intervals import estimates, percentile_interval
from mdgen.evaluation.statistics.markov import symmetrised
from mdgen.evaluation.statistics.observables import Observables
from mdgen.evaluation.statistics.transition_paths import observed_paths, path_log_probability, path_visits
from mdgen.results import Estimate

STEPS = 5
"""Length of a path in lags."""


class PathSums(NamedTuple):
    """Sums over the paths of each bootstrap unit.

    Args:
        visits: visits of each lumped state on paths from one lumped state to another, by ends and state.
        number: number of paths.
        valid: those that the reference's model allows.
        log_probability: sum of the logarithms of their probabilities under that model, given both ends.
    """

    visits: Float[np.ndarray, "unit path"]
    number: Float[np.ndarray, "unit"]
    valid: Float[np.ndarray, "unit"]
    log_probability: Float[np.ndarray, "unit"]


class PathMetrics(MetricFamily):
    """Paths of rows between lumped states; none for a target of a single lumped state or shorter than a path."""

    needs: ClassVar = ("states",)
    descriptions: ClassVar = {
        "path_valid_share": Description(
            "Valid paths",
            "share of the row's own paths, stretches of 5 lags that begin and end in different lumped states, whose "
            "every transition the reference makes too.",
            bounds=SHARE,
        ),
        "path_jsd": distance(
            "Path JSD",
            "Jensen-Shannon distance of the row's paths: their ends and the lumped states visited in between.",
            bounds=JSD,
        ),
        "path_log_probability": Description(
            "Path ln p",
            "mean log-probability of the row's paths under the reference's Markov model, given their ends; a "
            "transition that the reference never makes counts as half of one.",
        ),
        "path_log_probability_error": distance(
            "Path ln p error", "absolute difference of the mean log-probability of paths from the reference's."
        ),
    }

    def __init__(self, target: Target) -> None:
        assert target.states is not None
        super().__init__(target)
        self.states, self.number = target.states, target.states.n_macrostates
        counts = lumped_counts(target, target.data)
        self.sums: PathSums | None = None
        if counts is not None and self.number > 1:
            total = counts.sum(0)
            self.allowed = (total + total.T) > 0
            self.chain, _ = symmetrised(total + 0.25)
            self.sums = self._sums(target.data)

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """The metrics; only the distances for rows without a path."""
        sums = self._sums(row) if self.sums is not None else None
        if sums is None or self.sums is None:
            return {}
        weights = self.target.data_and_resamples(len(sums.number))
        others = self.target.data_and_resamples(len(self.sums.number))
        with np.errstate(invalid="ignore"):
            valid, mean = (weights @ each / (weights @ sums.number) for each in (sums.valid, sums.log_probability))
        values = estimates({"path_valid_share": valid, "path_log_probability": mean}, percentile_interval, row.n_units)
        return {**values, **estimates(_distances(sums, weights, self.sums, others), units=row.n_units)}

    def permuted(self, blocks: BlockPermutation) -> dict[str, Float[np.ndarray, "draw"]]:
        """Scores of dynamics against itself, draw by draw."""
        sums = self._sums(blocks.pool) if self.sums is not None else None
        return {} if sums is None else _distances(sums, blocks.row, sums, blocks.target)

    def _sums(self, row: Observables) -> PathSums | None:
        """None where no trajectory is as long as a path."""
        lag = max(1, round(self.target.lag_ps / row.frame_spacing_ps))
        if max(row.lengths, default=0) <= STEPS * lag:
            return None
        paths, start = observed_paths(self.states.macrostate[row["states"]], row.trajectory, lag, STEPS)
        units, n_units = row.units[start], row.n_units
        valid = self.allowed[paths[:, :-1], paths[:, 1:]].all(1)
        logarithm = path_log_probability(self.chain, paths)
        number, allowed, total = (
            np.bincount(units, weights=each, minlength=n_units) for each in (np.ones(len(paths)), valid, logarithm)
        )
        return PathSums(path_visits(paths, units, self.number, n_units), number, allowed, total)


def _distances(
    sums: PathSums,
    weights: Float[np.ndarray, "draw unit"],
    others: PathSums,
    other_weights: Float[np.ndarray, "draw other_unit"],
) -> dict[str, Float[np.ndarray, "draw"]]:
    """Distances of weighted sums. Where one sample has no path the first is the largest that there is."""
    numbers = weights @ sums.number, other_weights @ others.number
    empty = (numbers[0] == 0) != (numbers[1] == 0)
    distance = jensen_shannon(weights @ sums.visits, other_weights @ others.visits)
    mean, other = (
        total / np.maximum(number, 1e-9)
        for total, number in zip(
            (weights @ sums.log_probability, other_weights @ others.log_probability), numbers, strict=True
        )
    )
    return {
        "path_jsd": np.where(empty, np.sqrt(np.log(2)), distance),
        "path_log_probability_error": np.abs(mean - other),
    }
