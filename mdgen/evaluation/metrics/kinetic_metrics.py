"""Kinetics of rows in the reference's states: timescales, populations, fluxes, passage times and the Markov test."""

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from mdgen.evaluation.metrics.observables import Observables
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.block_permutation import Deals
from mdgen.evaluation.statistics.distributions import jensen_shannon
from mdgen.evaluation.statistics.intervals import (
    bootstrap_weights,
    centred_interval,
    percentile_interval,
    ratio_interval,
    resampled,
    spread,
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
from mdgen.evaluation.statistics.states import States
from mdgen.results import Estimate

MARKOV_TEST_LAGS = 5
"""Multiples of the lag over which the Chapman-Kolmogorov test runs."""


class KineticMetrics:
    """Judges the kinetics of rows against one target; the column `states` holds the states.

    Args:
        target: what rows are compared with.
        states: its states, lumped.
        lag_ps: of the Markov state model.
        settings: number of timescales and resamples.
    """

    def __init__(self, target: Observables, states: States, lag_ps: float, settings: Settings) -> None:
        self.states, self.lag_ps, self.settings = states, lag_ps, settings
        self.target, self.target_visits = self.lumped_counts(target), self.visits(target)

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """The metrics; none where no trajectory of the row is longer than the lag."""
        counts = self.counts(row)
        if counts is None or counts.sum() == 0:
            return {}
        weights = self._weights(len(counts))
        result = self._timescales(counts, weights)
        result |= self._markov_test(row, counts, weights)
        return {**result, **self._lumped(row, weights)}

    def dealt(self, deals: Deals) -> dict[str, Estimate]:
        """What dynamics scores against itself, with the spread of its luck."""
        counts = self.lumped_counts(deals.pool)
        if counts is None or self.states.n_macrostates < 2:
            return {}
        result = {"occupancy_jsd": spread(deals.distances(jensen_shannon, self.visits(deals.pool)))}
        rows, targets = (np.tensordot(hand, counts, axes=1) for hand in (deals.row, deals.target))
        pairs = list(zip(rows, targets, strict=True))
        for name, values in (
            ("flux_spearman", [flux_correlation(a, b) for a, b in pairs]),
            ("first_passage_log10_error", [passage_error(a, b, self.lag_ps) for a, b in pairs]),
        ):
            if np.isfinite(values).any():
                result[name] = spread(np.array(values))
        return result

    def counts(self, row: Observables, multiple: int = 1) -> Float[np.ndarray, "unit state state"] | None:
        """Transition counts at some lags by bootstrap unit; None where no trajectory is longer than that."""
        lag = multiple * max(1, round(self.lag_ps / row.frame_spacing_ps))
        if max(row.lengths, default=0) <= lag:
            return None
        return count_matrices(row["states"], row.trajectory, row.units, lag, self.states.number)

    def lumped_counts(self, row: Observables, multiple: int = 1) -> Float[np.ndarray, "unit set set"] | None:
        """The same between lumped states."""
        lag = multiple * max(1, round(self.lag_ps / row.frame_spacing_ps))
        if max(row.lengths, default=0) <= lag:
            return None
        sets = self.states.macrostate[row["states"]]
        return count_matrices(sets, row.trajectory, row.units, lag, self.states.n_macrostates)

    def visits(self, row: Observables) -> Float[np.ndarray, "unit set"]:
        """Frames in each lumped state by bootstrap unit."""
        units, number = row.units, self.states.n_macrostates
        flat = units * number + self.states.macrostate[row["states"]]
        n_units = int(units.max()) + 1
        return np.bincount(flat, minlength=n_units * number).reshape(n_units, number).astype(np.float64)

    def _weights(self, units: int) -> np.ndarray:
        return bootstrap_weights(units, self.settings.resamples, np.random.default_rng(self.settings.seed))

    def _timescales(self, counts: np.ndarray, weights: np.ndarray) -> dict[str, Estimate]:
        number = self.settings.n_timescales
        values = slowest_timescales(counts.sum(0), self.lag_ps, number)
        samples, shares = np.full((len(weights), number), np.nan), np.empty(len(weights))
        for i, weight in enumerate(weights):
            drawn = np.tensordot(weight, counts, axes=1)
            active = connected_set(drawn)
            shares[i] = _share(drawn, active)
            found = timescales(eigenvalues(*symmetrised(drawn[np.ix_(active, active)]))[1 : number + 1], self.lag_ps)
            samples[i, : len(found)] = found
        total = counts.sum(0)
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
        first = self.lumped_counts(row)
        assert first is not None
        later = [self.lumped_counts(row, multiple) for multiple in range(2, MARKOV_TEST_LAGS + 1)]
        return np.stack([first, *(np.zeros_like(first) if c is None else c for c in later)], axis=1)

    def _markov_test(self, row: Observables, counts: np.ndarray, weights: np.ndarray) -> dict[str, Estimate]:
        lumped, errors = self.markov_test_counts(row), []
        for weight in [np.ones(len(counts)), *weights[: max(2, len(weights) // 4)]]:
            predicted, counted = self.markov_test(
                np.tensordot(weight, counts, axes=1), np.tensordot(weight, lumped, axes=1)
            )
            squares = ((predicted - counted)[1:]) ** 2
            errors.append(np.sqrt(squares[np.isfinite(squares)].mean()) if np.isfinite(squares).any() else np.nan)
        if not np.isfinite(errors[0]):
            return {}
        return {"chapman_kolmogorov_rms": centred_interval(float(errors[0]), np.array(errors[1:]))}

    def _lumped(self, row: Observables, weights: np.ndarray) -> dict[str, Estimate]:
        counts, number = self.lumped_counts(row), self.states.n_macrostates
        if counts is None or self.target is None or number < 2:
            return {}
        drawn = np.concatenate([counts.sum(0)[None], np.tensordot(weights, counts, axes=1)])
        mine = self._weights(len(self.target))
        target = np.concatenate([self.target.sum(0)[None], np.tensordot(mine, self.target, axes=1)])
        distance, distances = resampled(
            jensen_shannon,
            self.target_visits,
            self.visits(row),
            len(weights),
            np.random.default_rng(self.settings.seed),
        )
        with np.errstate(invalid="ignore"):  # a resample of parts shorter than the lag holds no transition at all
            leaving = 1 - np.trace(drawn, axis1=1, axis2=2) / drawn.sum((1, 2))
        rates = leaving / self.lag_ps * 1000
        result = {
            "occupancy_jsd": centred_interval(float(distance), distances),
            "transitions_per_ns": percentile_interval(float(rates[0]), rates[1:]),
        }
        pairs = list(zip(drawn, target, strict=True))
        correlation = np.array([flux_correlation(a, b) for a, b in pairs])
        if np.isfinite(correlation[0]):
            result["flux_spearman"] = percentile_interval(float(correlation[0]), correlation[1:])
        error = np.array([passage_error(a, b, self.lag_ps) for a, b in pairs])
        if np.isfinite(error[0]):
            result["first_passage_log10_error"] = centred_interval(float(error[0]), error[1:])
        return result


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
