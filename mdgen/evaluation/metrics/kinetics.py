"""Kinetics of rows in the reference's states: timescales, populations, fluxes, passage times and the Markov test."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm, rankdata

from mdgen.evaluation.metrics.target import CORRELATION, JSD, SHARE, Description, MetricFamily, Target, distance
from mdgen.evaluation.statistics.block_permutation import BlockPermutation
from mdgen.evaluation.statistics.distributions import jensen_shannon
from mdgen.evaluation.statistics.intervals import LEVEL, centred_interval, estimates, percentile_interval, resampled
from mdgen.evaluation.statistics.jackknife import correlated_spread, log_interval, time_blocks, without_each
from mdgen.evaluation.statistics.markov import (
    bounded_timescales,
    chapman_kolmogorov,
    connected_set,
    count_matrices,
    leading_eigenvalues,
    log10_passage_times,
    slowest_timescales,
    symmetrised,
)
from mdgen.evaluation.statistics.observables import Observables
from mdgen.evaluation.statistics.slow_coordinates import noise_of_states
from mdgen.evaluation.statistics.timescale_intervals import log_reach, ordered_intervals
from mdgen.results import Estimate

MARKOV_TEST_LAGS = 5
"""Multiples of the lag over which the Chapman-Kolmogorov test runs."""

NEIGHBOURS = 2
"""Timescales beyond those reported that their intervals take into account: the order of close ones is chance."""


class KineticMetrics(MetricFamily):
    """Kinetics of rows in the states of the target; the column `states` holds the state of each frame."""

    needs: ClassVar = ("states",)
    descriptions: ClassVar = {
        "timescale_ps": Description(
            "Timescale (ps)",
            "implied timescales of the Markov state model, slowest first; those of the reference are from all of its "
            "frames, also where the comparison is made at a coarser frame spacing.",
        ),
        "mode_timescale_ps": Description(
            "Mode's timescale (ps)",
            "the same from the autocorrelation C of each slow coordinate at the lag, -lag / ln C: an estimate without "
            "states, lower where the coordinate is not the slow process itself.",
        ),
        "timescale_log_error": distance(
            "Timescale error",
            "|ln(t / t_reference)| of an implied timescale; 0.69 is a factor of two. Only for timescales of the "
            "reference beyond the lag and beyond what frames in random order give. A time counts as at least 0.2 lags "
            "and at most the length of the row.",
        ),
        "connected_share": Description(
            "Connected", "share of transitions within the largest connected set of states.", bounds=SHARE
        ),
        "chapman_kolmogorov_rms": Description(
            "CK error",
            "Chapman-Kolmogorov test: root-mean-square difference between the probability of being in the same lumped "
            "state after 2 to 5 lags as the row's own Markov model predicts it and as it is counted.",
            bounds=SHARE,
        ),
        "occupancy_jsd": distance(
            "Occupancy JSD", "Jensen-Shannon distance of the populations of the lumped (PCCA) states.", bounds=JSD
        ),
        "transitions_per_ns": Description(
            "Transitions (1/ns)", "changes between lumped states from one lag to the next, per ns."
        ),
        "flux_spearman": distance(
            "Flux Spearman",
            "rank correlation of the stationary fluxes pi_i T_ij between lumped states with the reference's. 1 is "
            "best; the shuffled row shows how much of it needs no kinetics.",
            bounds=CORRELATION,
        ),
        "first_passage_log10_error": distance(
            "MFPT error",
            "mean absolute difference of log10 mean first-passage times between lumped states: 0.3 is a factor of "
            "two. A passage that is never seen counts as long, by half a transition.",
        ),
    }

    def __init__(self, target: Target) -> None:
        assert target.states is not None
        super().__init__(target)
        self.states, self.lag_ps = target.states, target.lag_ps
        self.lumped, self.lumped_visits = lumped_counts(target, target.data), self.visits(target.data)
        self.target_counts, self.judged = self.counts(target.data), self._judged_modes()

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """The metrics; none where no trajectory of the row is longer than the lag."""
        counts = self.counts(row)
        if counts is None or counts.sum() == 0:
            return {}
        weights = self.target.weights(len(counts))
        result = self.timescales(self._all_frames(row)) | self._timescale_errors(row, counts, weights)
        result["connected_share"] = percentile_interval(
            _share(counts.sum(0)), np.array([_share(drawn) for drawn in np.tensordot(weights, counts, axes=1)])
        )
        result |= self._markov_test(row, counts, weights)
        return {**result, **self._lumped(row, weights)}

    def permuted(self, blocks: BlockPermutation) -> dict[str, Float[np.ndarray, "draw"]]:
        """Scores of dynamics against itself, draw by draw."""
        result: dict[str, np.ndarray] = {}
        counts = self.counts(blocks.pool)
        if counts is not None and self.judged:
            samples = [(weights, np.tensordot(weights, counts, axes=1)) for weights in (blocks.row, blocks.target)]
            frames, spacing_ps = np.bincount(blocks.pool.units), blocks.pool.frame_spacing_ps
            result |= self._log_errors(*((drawn, weights @ frames * spacing_ps) for weights, drawn in samples))
        lumped = lumped_counts(self.target, blocks.pool)
        if lumped is None or self.states.n_macrostates < 2:
            return result
        rows, targets = (np.tensordot(weights, lumped, axes=1) for weights in (blocks.row, blocks.target))
        occupancy = blocks.distances(jensen_shannon, self.visits(blocks.pool))
        return {**result, "occupancy_jsd": occupancy, **self._compared(rows, targets)}

    def _judged_modes(self) -> list[int]:
        """Modes whose timescale is beyond the lag and whose eigenvalue is beyond those of frames in random order."""
        row, number = self._all_frames(self.target.data), self.settings.n_timescales
        counts = self.counts(row)
        if counts is None:
            return []
        values = leading_eigenvalues(counts.sum(0)[None], number)[0]
        noise = noise_of_states(row["states"], self.states.number, number, self.target.rng())
        return np.flatnonzero((values > np.exp(-1)) & (values > noise)).tolist()

    def _all_frames(self, row: Observables) -> Observables:
        """All frames where the row is the reference itself, thinned for the comparison; else the row."""
        return self.target.unthinned or row if row is self.target.data else row

    def _log_errors(
        self, row: tuple[np.ndarray, np.ndarray], target: tuple[np.ndarray, np.ndarray]
    ) -> dict[str, Float[np.ndarray, "draw"]]:
        """`timescale_log_error/k` of pairs of count matrices, each with the length in ps that bounds its times."""
        number = max(self.judged) + 1
        times = [
            bounded_timescales(leading_eigenvalues(counts, number), self.lag_ps, length_ps[:, None])
            for counts, length_ps in (row, target)
        ]
        errors = np.abs(np.log(times[0] / times[1]))
        return {f"timescale_log_error/{mode + 1}": errors[:, mode] for mode in self.judged}

    def _timescale_errors(self, row: Observables, counts: np.ndarray, weights: np.ndarray) -> dict[str, Estimate]:
        if self.target_counts is None or not self.judged:
            return {}
        mine = np.concatenate([np.ones((1, len(counts))), weights])
        others = self.target.data_and_resamples(len(self.target_counts))
        drawn, expected = (
            (np.tensordot(w, each, axes=1), np.full(len(w), data.length_ns * 1000))
            for w, each, data in ((mine, counts, row), (others, self.target_counts, self.target.data))
        )
        return estimates(self._log_errors(drawn, expected), units=row.n_units)

    def _compared(self, rows: np.ndarray, targets: np.ndarray) -> dict[str, Float[np.ndarray, "resample"]]:
        """Flux correlations and passage errors of pairs of count matrices."""
        return {
            "flux_spearman": flux_correlation(rows, targets),
            "first_passage_log10_error": passage_error(rows, targets, self.lag_ps),
        }

    def counts(self, row: Observables) -> Float[np.ndarray, "unit state state"] | None:
        """Transition counts at the lag by bootstrap unit; None where no trajectory is longer than that."""
        return _counts(row["states"], row, self.lag_ps, 1, self.states.number)

    def visits(self, row: Observables) -> Float[np.ndarray, "unit set"]:
        """Frames in each lumped state by bootstrap unit."""
        return row.histogram(self.states.macrostate[row["states"]], self.states.n_macrostates)

    def timescales(self, row: Observables) -> dict[str, Estimate]:
        """Timescales by the Markov model and by the autocorrelation of the slow coordinates, with their intervals."""
        counts, number = self.counts(row), self.settings.n_timescales
        assert counts is not None
        total = counts.sum(0)
        values = slowest_timescales(total, self.lag_ps, number + NEIGHBOURS)
        values = values[np.isfinite(values)]
        slowest, lag, active = values.max(initial=0.0), self._lag_frames(row), connected_set(total)
        units = time_blocks(row, slowest)
        correlated = correlated_spread(row, units, slowest)
        blocks = count_matrices(row["states"], row.trajectory, units, lag, self.states.number)[:, active][:, :, active]
        reaches = log_reach(blocks, lag, len(values), correlated)
        spread = np.resize(np.append(self.states.timescale_spread, np.zeros(len(values))), len(values))
        found = ordered_intervals(values, np.hypot(reaches, norm.ppf((1 + LEVEL) / 2) * spread))
        result = {f"timescale_ps/{mode}": estimate for mode, estimate in enumerate(found[:number], start=1)}
        for mode in range(min(number, row["psi"].shape[1]) if "psi" in row else 0):
            sums = lagged_moments(row["psi"][:, mode].astype(np.float64), row.trajectory, units, lag)
            values = correlation_of_moments(np.concatenate([sums.sum(0)[None], without_each(sums)]))
            times = bounded_timescales(values, self.lag_ps, row.length_ns * 1000)
            if np.isfinite(values[0]):
                result[f"mode_timescale_ps/{mode + 1}"] = log_interval(times[0], times[1:], correlated=correlated)
        return result

    def slowest_ps(self, row: Observables) -> Estimate | None:
        """The slowest timescale; None where it is not known, or no process is slow."""
        if max(row.lengths) <= self._lag_frames(row):
            return None
        found = self.timescales(row).get("timescale_ps/1")
        return None if found is None or not found.value > 0 or found.high is None else found

    def _lag_frames(self, row: Observables) -> int:
        return max(1, round(self.lag_ps / row.frame_spacing_ps))

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
        if self.states.n_macrostates < 2:  # one state is where the frames stay whatever they do
            return {}
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
        with np.errstate(invalid="ignore"):  # parts shorter than the lag hold no transition at all
            leaving, left_out = (
                1 - np.trace(x, axis1=-2, axis2=-1) / x.sum((-2, -1)) for x in (drawn, without_each(counts))
            )
        compared = self._compared(drawn, target)
        return {
            "occupancy_jsd": centred_interval(float(occupancy), occupancies),
            "transitions_per_ns": log_interval(leaving[0] / self.lag_ps * 1000, left_out),
            **estimates({"flux_spearman": compared.pop("flux_spearman")}, percentile_interval, row.n_units),
            **estimates(compared, units=row.n_units),
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


def flux_correlation(
    counts: Float[np.ndarray, "*draw set set"], reference: Float[np.ndarray, "*draw set set"]
) -> Float[np.ndarray, "*draw"]:
    """Spearman's rank correlation of the stationary fluxes `pi_i T_ij` over all pairs of different states.

    Counts that are made symmetric are those fluxes, up to their sum; with two states there is but one flux, and NaN.
    """
    rows, columns = np.triu_indices(counts.shape[-1], 1)
    if len(rows) < 2:
        return np.full(counts.shape[:-2], np.nan)
    ranks = (rankdata((each + each.swapaxes(-1, -2))[..., rows, columns], axis=-1) for each in (counts, reference))
    here, there = (each - (len(rows) + 1) / 2 for each in ranks)
    with np.errstate(invalid="ignore"):
        return np.asarray((here * there).sum(-1) / np.sqrt((here**2).sum(-1) * (there**2).sum(-1)))


def passage_error(
    counts: Float[np.ndarray, "draw set set"], reference: Float[np.ndarray, "draw set set"], lag_ps: float
) -> Float[np.ndarray, "draw"]:
    """Mean absolute difference of log10 mean first-passage times over all pairs of states, draw by draw."""
    between = ~np.eye(counts.shape[-1], dtype=bool)
    times, others = (log10_passage_times(each, lag_ps)[:, between] for each in (counts, reference))
    return np.abs(times - others).mean(1)


def lagged_moments(
    values: Float[np.ndarray, "frame"], trajectory: Int[np.ndarray, "frame"], units: Int[np.ndarray, "frame"], lag: int
) -> Float[np.ndarray, "unit 4"]:
    """Number, sum, sum of squares and of products of pairs of frames a lag apart, both frames counted, by unit."""
    kept = trajectory[:-lag] == trajectory[lag:]
    now, then, at = values[:-lag][kept], values[lag:][kept], units[:-lag][kept]
    moments = (np.ones_like(now), (now + then) / 2, (now**2 + then**2) / 2, now * then)
    return np.stack([np.bincount(at, weights=each, minlength=units.max() + 1) for each in moments], axis=1)


def correlation_of_moments(moments: Float[np.ndarray, "*batch 4"]) -> Float[np.ndarray, "*batch"]:
    """Autocorrelation at the lag from such sums; NaN where the values do not vary."""
    number, *sums = np.moveaxis(moments, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, square, product = (each / number for each in sums)
        return (product - mean**2) / (square - mean**2)


def _share(counts: Float[np.ndarray, "state state"]) -> float:
    """The share of transitions that start in the largest connected set of states."""
    return float(counts[connected_set(counts)].sum() / max(counts.sum(), 1.0))
