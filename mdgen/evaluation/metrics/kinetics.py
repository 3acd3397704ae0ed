"""Kinetics of rows in the reference's states: timescales, populations, fluxes, passage times and the Markov test."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from mdgen.evaluation.metrics.target import Description, MetricFamily, Target, distance
from mdgen.evaluation.statistics.block_permutation import BlockPermutation
from mdgen.evaluation.statistics.distributions import jensen_shannon
from mdgen.evaluation.statistics.intervals import (
    centred_interval,
    estimates,
    percentile_interval,
    ratio_interval,
    resampled,
)
from mdgen.evaluation.statistics.markov import (
    chapman_kolmogorov,
    connected_set,
    count_matrices,
    eigenvalues,
    mean_first_passage,
    slowest_timescales,
    symmetrised,
    timescales,
)
from mdgen.evaluation.statistics.observables import Observables
from mdgen.results import Estimate

MARKOV_TEST_LAGS = 5
"""Multiples of the lag over which the Chapman-Kolmogorov test runs."""


class KineticMetrics(MetricFamily):
    """Kinetics of rows in the states of the target; the column `states` holds the state of each frame."""

    needs: ClassVar = ("states",)
    descriptions: ClassVar = {
        "timescale_ps": Description("Timescale (ps)", "implied timescales of the Markov state model, slowest first."),
        "connected_share": Description("Connected", "share of transitions within the largest connected set of states."),
        "chapman_kolmogorov_rms": Description(
            "CK error",
            "Chapman-Kolmogorov test: root-mean-square difference between the probability of being in the same lumped "
            "state after 2 to 5 lags as the row's own Markov model predicts it and as it is counted.",
        ),
        "occupancy_jsd": distance(
            "Occupancy JSD", "Jensen-Shannon distance of the populations of the lumped (PCCA) states."
        ),
        "transitions_per_ns": Description(
            "Transitions (1/ns)", "changes between lumped states from one lag to the next, per ns."
        ),
        "flux_spearman": distance(
            "Flux Spearman",
            "rank correlation of the stationary fluxes pi_i T_ij between lumped states with the reference's. 1 is "
            "best; the shuffled row shows how much of it needs no kinetics.",
        ),
        "first_passage_log10_error": distance(
            "MFPT error",
            "mean absolute difference of log10 mean first-passage times between lumped states: 0.3 is a factor of two.",
        ),
    }

    def __init__(self, target: Target) -> None:
        assert target.states is not None
        super().__init__(target)
        self.states, self.lag_ps = target.states, target.lag_ps
        self.lumped, self.lumped_visits = lumped_counts(target, target.data), self.visits(target.data)

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """The metrics; none where no trajectory of the row is longer than the lag."""
        counts = self.counts(row)
        if counts is None or counts.sum() == 0:
            return {}
        weights = self.target.weights(len(counts))
        result = self._timescales(counts, weights)
        result |= self._markov_test(row, counts, weights)
        return {**result, **self._lumped(row, weights)}

    def permuted(self, blocks: BlockPermutation) -> dict[str, Float[np.ndarray, "draw"]]:
        """Scores of dynamics against itself, draw by draw."""
        counts = lumped_counts(self.target, blocks.pool)
        if counts is None or self.states.n_macrostates < 2:
            return {}
        rows, targets = (np.tensordot(weights, counts, axes=1) for weights in (blocks.row, blocks.target))
        occupancy = blocks.distances(jensen_shannon, self.visits(blocks.pool))
        return {"occupancy_jsd": occupancy, **self._compared(rows, targets)}

    def _compared(self, rows: np.ndarray, targets: np.ndarray) -> dict[str, Float[np.ndarray, "resample"]]:
        """Flux correlations and passage errors of pairs of count matrices."""
        pairs = list(zip(rows, targets, strict=True))
        return {
            "flux_spearman": np.array([flux_correlation(a, b) for a, b in pairs]),
            "first_passage_log10_error": np.array([passage_error(a, b, self.lag_ps) for a, b in pairs]),
        }

    def counts(self, row: Observables) -> Float[np.ndarray, "unit state state"] | None:
        """Transition counts at the lag by bootstrap unit; None where no trajectory is longer than that."""
        return _counts(row["states"], row, self.lag_ps, 1, self.states.number)

    def visits(self, row: Observables) -> Float[np.ndarray, "unit set"]:
        """Frames in each lumped state by bootstrap unit."""
        return row.histogram(self.states.macrostate[row["states"]], self.states.n_macrostates)

    def _timescales(self, counts: np.ndarray, weights: np.ndarray) -> dict[str, Estimate]:
        number, total = self.settings.n_timescales, counts.sum(0)
        values = slowest_timescales(total, self.lag_ps, number)
        samples, shares = np.full((len(weights), number), np.nan), np.empty(len(weights))
        for i, drawn in enumerate(np.tensordot(weights, counts, axes=1)):
            active = connected_set(drawn)
            shares[i] = _share(drawn, active)
            found = timescales(eigenvalues(*symmetrised(drawn[np.ix_(active, active)]))[1 : number + 1], self.lag_ps)
            samples[i, : len(found)] = found
        result = {"connected_share": percentile_interval(_share(total, connected_set(total)), shares)}
        for i in range(number):
            if np.isfinite(values[i]):
                result[f"timescale_ps/{i + 1}"] = ratio_interval(values[i], samples[:, i])
        return result

    def markov_test(
        self, counts: Float[np.ndarray, "state state"], lumped: Float[np.ndarray, "multiple set set"]
    ) -> tuple[Float[np.ndarray, "multiple set"], Float[np.ndarray, "multiple set"]]:
        """Probability of being in the same lumped state again after 1, 2, ... lags: predicted, and counted."""
        active = connected_set(counts)
        matrix, pi = symmetrised(counts[np.ix_(active, active)])
        sets, number = self.states.macrostate[active], self.states.n_macrostates
        predicted = chapman_kolmogorov(matrix, pi, sets, number, len(lumped))
        with np.errstate(invalid="ignore"):
            return predicted, np.diagonal(lumped, axis1=1, axis2=2) / lumped.sum(2)

    def markov_test_counts(self, row: Observables) -> Float[np.ndarray, "unit multiple set set"]:
        """Transition counts between lumped states after 1, 2, ... lags; zero where no trajectory is as long."""
        first, *later = (lumped_counts(self.target, row, multiple) for multiple in range(1, MARKOV_TEST_LAGS + 1))
        assert first is not None
        return np.stack([first, *(np.zeros_like(first) if c is None else c for c in later)], axis=1)

    def _markov_test(self, row: Observables, counts: np.ndarray, weights: np.ndarray) -> dict[str, Estimate]:
        weights, errors = np.concatenate([np.ones((1, len(counts))), weights[: max(2, len(weights) // 4)]]), []
        samples = (np.tensordot(weights, each, axes=1) for each in (counts, self.markov_test_counts(row)))
        for drawn, lumped in zip(*samples, strict=True):
            predicted, counted = self.markov_test(drawn, lumped)
            squares = ((predicted - counted)[1:]) ** 2
            errors.append(np.sqrt(squares[np.isfinite(squares)].mean()) if np.isfinite(squares).any() else np.nan)
        if not np.isfinite(errors[0]):
            return {}
        return {"chapman_kolmogorov_rms": centred_interval(float(errors[0]), np.array(errors[1:]))}

    def _lumped(self, row: Observables, weights: np.ndarray) -> dict[str, Estimate]:
        counts, number = lumped_counts(self.target, row), self.states.n_macrostates
        if counts is None or self.lumped is None or number < 2:
            return {}
        drawn = np.concatenate([counts.sum(0)[None], np.tensordot(weights, counts, axes=1)])
        mine = self.target.weights(len(self.lumped))
        target = np.concatenate([self.lumped.sum(0)[None], np.tensordot(mine, self.lumped, axes=1)])
        visits = self.lumped_visits, self.visits(row)
        occupancy, occupancies = resampled(jensen_shannon, *visits, len(weights), self.target.rng())
        with np.errstate(invalid="ignore"):  # a resample of parts shorter than the lag holds no transition at all
            leaving = 1 - np.trace(drawn, axis1=1, axis2=2) / drawn.sum((1, 2))
        rates, compared = leaving / self.lag_ps * 1000, self._compared(drawn, target)
        return {
            "occupancy_jsd": centred_interval(float(occupancy), occupancies),
            "transitions_per_ns": percentile_interval(float(rates[0]), rates[1:]),
            **estimates({"flux_spearman": compared.pop("flux_spearman")}, percentile_interval),
            **estimates(compared),
        }


def lumped_counts(target: Target, row: Observables, multiple: int = 1) -> Float[np.ndarray, "unit set set"] | None:
    """Transition counts between lumped states by bootstrap unit; None where no trajectory is longer than the lags."""
    assert target.states is not None
    sets = target.states.macrostate[row["states"]]
    return _counts(sets, row, target.lag_ps, multiple, target.states.n_macrostates)


def _counts(
    states: np.ndarray, row: Observables, lag_ps: float, multiple: int, number: int
) -> Float[np.ndarray, "unit state state"] | None:
    lag = multiple * max(1, round(lag_ps / row.frame_spacing_ps))
    if max(row.lengths, default=0) <= lag:
        return None
    return count_matrices(states, row.trajectory, row.units, lag, number)


def flux_correlation(counts: Float[np.ndarray, "set set"], reference: Float[np.ndarray, "set set"]) -> float:
    """Spearman's rank correlation of the stationary fluxes `pi_i T_ij` over all pairs of different states.

    Counts that are made symmetric are those fluxes, up to their sum; with two states there is but one flux, and NaN.
    """
    pairs = np.triu_indices(len(counts), 1)
    ranks = [rankdata((matrix + matrix.T)[pairs]) for matrix in (counts, reference)]
    if len(ranks[0]) < 2 or any(np.ptp(rank) == 0 for rank in ranks):
        return float("nan")
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def passage_error(
    counts: Float[np.ndarray, "set set"], reference: Float[np.ndarray, "set set"], lag_ps: float
) -> float:
    """Mean absolute difference of log10 mean first-passage times over the pairs of states that both connect."""
    shared = np.intersect1d(connected_set(counts), connected_set(reference))
    if len(shared) < 2:
        return float("nan")
    logarithms = []
    for matrix in (counts, reference):
        active = connected_set(matrix)
        passage = mean_first_passage(*symmetrised(matrix[np.ix_(active, active)]), lag_ps)
        inside = np.searchsorted(active, shared)
        between = ~np.eye(len(shared), dtype=bool)
        logarithms.append(np.log10(passage[np.ix_(inside, inside)][between]))
    return float(np.abs(logarithms[0] - logarithms[1]).mean())


def _share(counts: np.ndarray, active: np.ndarray) -> float:
    """The share of transitions that start in the given states."""
    return float(counts[active].sum() / max(counts.sum(), 1.0))
