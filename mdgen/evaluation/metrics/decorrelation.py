"""Autocorrelations of the torsions and the times in which they decay, compared with the target's."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from mdgen.evaluation.metrics.target import Description, MetricFamily, Target, distance
from mdgen.evaluation.statistics.autocorrelation import (
    LaggedSums,
    decorrelation_time,
    dynamical_content,
    lagged_sums,
    logarithmic_lags,
    weighted_autocorrelation,
)
from mdgen.evaluation.statistics.block_permutation import BlockPermutation
from mdgen.evaluation.statistics.intervals import estimates
from mdgen.evaluation.statistics.jackknife import log_band
from mdgen.evaluation.statistics.observables import Observables
from mdgen.results import Estimate

SHORTEST = 20
"""Fewest frames of the longest trajectory for which autocorrelations are measured."""

SHORT_LAGS = np.array([1, 2, 3, 5])
"""Lags in frames of the error of relaxation."""

LEAST_RELAXATION = 1e-4
"""Relaxation that one of less, such as that of a torsion that rests, counts as."""


class DecorrelationMetrics(MetricFamily):
    """Autocorrelations of rows against those of the target; methyl rotors stay out of the means.

    Lags reach up to half of the longest trajectory or a thirtieth of all the frames: beyond that there is only noise.
    """

    needs: ClassVar = ("torsions",)
    descriptions: ClassVar = {
        "decorrelation_ps": Description(
            "Decorrelation (ps)",
            "time after which a torsion's autocorrelation, sine and cosine together and above its baseline, falls to "
            "1/e. A time below the frame spacing is an upper bound.",
        ),
        "decorrelation_log10_error": distance(
            "Decorrelation error",
            "mean absolute difference of log10 decorrelation times over torsions: 0.3 is a factor of two. A time "
            "beyond the lags counts as the longest of them.",
        ),
        "relaxation_log10_error": distance(
            "Relaxation error",
            "mean absolute difference over lags of 1, 2, 3 and 5 frames of log10 of a torsion's relaxation, 1 less its "
            "autocorrelation: how far it has moved by then. Jitter, and frames out of order, show here first.",
        ),
        "autocorrelation_rmse": distance(
            "Autocorrelation RMSE",
            "root-mean-square difference of the torsions' autocorrelations over lags even on a log scale, up to half "
            "of the longest trajectory or a thirtieth of all frames.",
        ),
        "dynamical_content_rmse": distance(
            "Dynamical content RMSE", "the same of the dynamical content -d autocorrelation / d ln t."
        ),
    }

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        lags, weights = self._lags(target.data), target.data_and_resamples(target.data.n_units)
        self.lags_ps, sums = lags * target.data.frame_spacing_ps, self._sums(target.data, lags)
        self.correlation = weighted_autocorrelation(sums.at(lags), weights)
        self.times = _times(self.lags_ps, self.correlation)
        self.relaxation = self._relaxation(sums, weights)

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`decorrelation_ps/NAME`, `decorrelation_log10_error/all`, `relaxation_log10_error/NAME` and so on."""
        if not self.target.moving or max(row.lengths) < SHORTEST:
            return {}
        lags, weights = self._lags(row), self.target.data_and_resamples(row.n_units)
        lags_ps, sums = lags * row.frame_spacing_ps, self._sums(row, lags)
        correlation = weighted_autocorrelation(sums.at(lags), weights)
        times = _times(lags_ps, correlation)
        error = time_error(times, longest(correlation, lags_ps), self.times, longest(self.correlation, self.lags_ps))
        distances = self._distances(self._at_target_lags(lags_ps, correlation), self.correlation, error)
        if row.frame_spacing_ps == self.target.data.frame_spacing_ps:
            distances |= self._relaxation_errors(self._relaxation(sums, weights), self.relaxation)
        return self.own_times(row, sums.at(lags)) | estimates(distances, units=row.n_units)

    def permuted(self, blocks: BlockPermutation) -> dict[str, Float[np.ndarray, "draw"]]:
        """Scores of dynamics against itself, draw by draw."""
        if not self.target.moving or max(blocks.pool.lengths) < SHORTEST:
            return {}
        lags = np.round(self.lags_ps / blocks.pool.frame_spacing_ps).astype(np.int64)
        sums, samples = self._sums(blocks.pool, lags), (blocks.row, blocks.target)
        here, there = (weighted_autocorrelation(sums.at(lags), weights) for weights in samples)
        (mine, end), (others, other_end) = (
            (_times(self.lags_ps, sample), longest(sample, self.lags_ps)) for sample in (here, there)
        )
        relaxations = (self._relaxation(sums, weights) for weights in samples)
        return self._distances(here, there, time_error(mine, end, others, other_end)) | self._relaxation_errors(
            *relaxations
        )

    def curve(self, row: Observables) -> np.ndarray:
        """Autocorrelation `(torsion, lag)` of a row at the lags `lags_ps`."""
        lags = self._lags(row)
        correlation = weighted_autocorrelation(self._sums(row, lags).at(lags), np.ones((1, row.n_units)))
        return self._at_target_lags(lags * row.frame_spacing_ps, correlation)[0]

    def own_times(self, row: Observables, sums: LaggedSums | None = None) -> dict[str, Estimate]:
        """`decorrelation_ps/NAME`, of all frames for the reference itself.

        The time is a steep function of a correlation that is nearly level at 1/e, as where a fast motion ends and a
        slow one stays: so its interval ends where those of the correlation fall to 1/e, or at the length of the row.
        """
        if row is self.target.data and self.target.unthinned is not None:
            row, sums = self.target.unthinned, None
        if sums is None:
            sums = lagged_sums(row, range(len(self.torsions)), self._lags(row))
        lags_ps = sums.lags * row.frame_spacing_ps
        weights = np.concatenate([np.ones((1, row.n_units)), 1 - np.eye(row.n_units)])
        correlation = weighted_autocorrelation(sums, weights)
        value, low, high = (_times(lags_ps, each) for each in (correlation[0], *log_band(correlation)))
        high = np.where(np.isfinite(high), high, row.length_ns * 1000)
        return {
            f"decorrelation_ps/{torsion.name}": Estimate(float(value[i]), float(low[i]), float(high[i]))
            for i, torsion in enumerate(self.torsions)
            if np.isfinite(value[i])
        }

    def _sums(self, row: Observables, lags: Int[np.ndarray, "lag"]) -> LaggedSums:
        """Sums of all torsions at these lags and at the short ones that the row reaches."""
        short = SHORT_LAGS[: np.searchsorted(SHORT_LAGS, max(row.lengths))]
        return lagged_sums(row, range(len(self.torsions)), np.union1d(lags, short))

    def _relaxation(self, sums: LaggedSums, weights: np.ndarray) -> Float[np.ndarray, "resample torsion lag"]:
        """log10 of 1 less the autocorrelation at short lags; NaN for torsions that do not move."""
        with np.errstate(divide="ignore", invalid="ignore"):
            short = sums.at(np.intersect1d(SHORT_LAGS, sums.lags))
            relaxed = 1 - weighted_autocorrelation(short, weights)[:, self.target.moving]
            return np.log10(np.maximum(relaxed, LEAST_RELAXATION))

    def _relaxation_errors(self, here: np.ndarray, there: np.ndarray) -> dict[str, Float[np.ndarray, "resample"]]:
        """`relaxation_log10_error/NAME` and their mean; a torsion that moves in one sample alone counts as it does."""
        shared = min(here.shape[-1], there.shape[-1])
        still = np.log10(LEAST_RELAXATION)
        errors = np.abs(np.nan_to_num(here, nan=still)[..., :shared] - np.nan_to_num(there, nan=still)[..., :shared])
        errors = errors.mean(-1)
        named = {self.torsions[column].name: errors[:, i] for i, column in enumerate(self.target.moving)}
        named["all"] = errors.mean(1)
        return {f"relaxation_log10_error/{name}": values for name, values in named.items()}

    def _distances(
        self, here: np.ndarray, there: np.ndarray, error: Float[np.ndarray, "resample torsion"]
    ) -> dict[str, Float[np.ndarray, "resample"]]:
        """Distances of two sets of autocorrelations at the target's lags, beside the error of decorrelation times."""
        found = autocorrelation_distances(
            here[:, self.target.moving], there[:, self.target.moving], self.lags_ps, every=2
        )
        return {"decorrelation_log10_error/all": _finite_mean(error[:, self.target.moving]), **found}

    def _at_target_lags(self, lags_ps: np.ndarray, correlation: np.ndarray) -> np.ndarray:
        """Interpolated in log t; NaN at lags that the row's frame spacing or length does not cover."""
        if np.array_equal(lags_ps, self.lags_ps):
            return correlation
        flat = correlation.reshape(-1, len(lags_ps))
        x, at = np.log(lags_ps), np.log(self.lags_ps)
        values = [np.interp(at, x, line, left=np.nan, right=np.nan) for line in flat]
        return np.array(values).reshape(*correlation.shape[:-1], len(at))

    def _lags(self, row: Observables) -> Int[np.ndarray, "lag"]:
        return logarithmic_lags(max(1, min(max(row.lengths) // 2, row.n_frames // 30)))


def autocorrelation_distances(
    here: Float[np.ndarray, "resample torsion lag"],
    there: Float[np.ndarray, "resample torsion lag"],
    lags_ps: Float[np.ndarray, "lag"],
    every: int = 1,
) -> dict[str, Float[np.ndarray, "resample"]]:
    """RMS differences of autocorrelations and of their dynamical contents, the latter at every `every`-th lag."""
    content, expected = (dynamical_content(x[..., ::every], lags_ps[::every]) for x in (here, there))
    return {
        "autocorrelation_rmse/all": _root_mean_square(here - there),
        "dynamical_content_rmse/all": _root_mean_square(content - expected),
    }


def time_error(
    times: Float[np.ndarray, "resample torsion"],
    longest_ps: Float[np.ndarray, "resample torsion"],
    others: Float[np.ndarray, "resample torsion"],
    others_longest_ps: Float[np.ndarray, "resample torsion"],
) -> Float[np.ndarray, "resample torsion"]:
    """`|log10(time / other)|`; a time beyond the lags, NaN, counts as the longest lag, its lower bound.

    Were such torsions left out, generated trajectories in which a torsion never turns would not be penalised. NaN where
    the lags of the one end before the time of the other, or both times are unknown: they cannot be told apart.

    >>> known, beyond = [(np.array([[time]]), np.array([[200.0]])) for time in (2.0, np.nan)]
    >>> print(time_error(*known, *beyond), time_error(*beyond, *known), time_error(*beyond, *beyond))
    [[2.]] [[2.]] [[nan]]
    """
    beyond, others_beyond = np.isnan(times), np.isnan(others)
    here, there = np.where(beyond, longest_ps, times), np.where(others_beyond, others_longest_ps, others)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.log10(here / there)
    unknown = (beyond & (others_beyond | (error < 0))) | (others_beyond & (error > 0))
    return np.where(unknown, np.nan, np.abs(error))


def longest(
    correlation: Float[np.ndarray, "resample torsion lag"], lags_ps: Float[np.ndarray, "lag"]
) -> Float[np.ndarray, "resample torsion"]:
    """The longest lag at which each correlation is known; the longest of all for a torsion that never moves."""
    known = np.isfinite(correlation)
    return lags_ps[len(lags_ps) - 1 - known[..., ::-1].argmax(-1)]


def _times(lags_ps: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    return decorrelation_time(np.nan_to_num(correlation, nan=1.0), lags_ps)


def _finite_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of the finite values."""
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(finite, values, 0).sum(-1) / finite.sum(-1)


def _root_mean_square(difference: np.ndarray) -> np.ndarray:
    """Root mean square over all axes but the first."""
    return np.sqrt(_finite_mean((difference**2).reshape(len(difference), -1)))
