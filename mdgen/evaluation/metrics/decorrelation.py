"""Autocorrelations of the torsions and the times in which they decay, compared with the target's."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from mdgen.evaluation.metrics.target import Description, MetricFamily, Target, distance
from mdgen.evaluation.statistics.autocorrelation import (
    autocorrelation,
    decorrelation_time,
    dynamical_content,
    lagged_products,
    logarithmic_lags,
)
from mdgen.evaluation.statistics.block_permutation import BlockPermutation
from mdgen.evaluation.statistics.intervals import estimates, ratio_interval
from mdgen.evaluation.statistics.observables import Observables
from mdgen.results import Estimate

SHORTEST = 20
"""Fewest frames of the longest trajectory for which autocorrelations are measured."""


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
        self.lags_ps, self.correlation = self._resampled(target.data)
        self.times = _times(self.lags_ps, self.correlation)

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`decorrelation_ps/NAME`, `decorrelation_log10_error/all`, `autocorrelation_rmse/all` and so on."""
        if not self.target.moving or max(row.lengths) < SHORTEST:
            return {}
        lags_ps, correlation = self._resampled(row)
        times = _times(lags_ps, correlation)
        named = {f"decorrelation_ps/{torsion.name}": times[:, i] for i, torsion in enumerate(self.torsions)}
        error = time_error(times, longest(correlation, lags_ps), self.times, longest(self.correlation, self.lags_ps))
        distances = self._distances(self._at_target_lags(lags_ps, correlation), self.correlation, error)
        return estimates(named, ratio_interval, row.n_units) | estimates(distances, units=row.n_units)

    def permuted(self, blocks: BlockPermutation) -> dict[str, Float[np.ndarray, "draw"]]:
        """Scores of dynamics against itself, draw by draw."""
        if not self.target.moving or max(blocks.pool.lengths) < SHORTEST:
            return {}
        lags = np.round(self.lags_ps / blocks.pool.frame_spacing_ps).astype(np.int64)
        columns = range(len(self.torsions))
        here, there = (weighted_autocorrelation(blocks.pool, columns, lags, w) for w in (blocks.row, blocks.target))
        (mine, end), (others, other_end) = (
            (_times(self.lags_ps, sample), longest(sample, self.lags_ps)) for sample in (here, there)
        )
        return self._distances(here, there, time_error(mine, end, others, other_end))

    def curve(self, row: Observables) -> np.ndarray:
        """Autocorrelation `(torsion, lag)` of a row at the lags `lags_ps`."""
        return self._at_target_lags(*self._resampled(row, resamples=0))[0]

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

    def _resampled(self, row: Observables, resamples: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Lags in ps, and the autocorrelation `(resample, torsion, lag)` of the row, first, and of its resamples."""
        lags = logarithmic_lags(max(1, min(max(row.lengths) // 2, row.n_frames // 30)))
        weights = self.target.data_and_resamples(row.n_units, resamples)
        return lags * row.frame_spacing_ps, weighted_autocorrelation(row, range(len(self.torsions)), lags, weights)


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


def weighted_autocorrelation(
    row: Observables, torsions: Sequence[int], lags: Int[np.ndarray, "lag"], weights: Float[np.ndarray, "resample unit"]
) -> Float[np.ndarray, "resample torsion lag"]:
    """The autocorrelation of some torsions, by column, with the units of the row weighted."""
    units, trajectory, n_units = row.units, row.trajectory, weights.shape[1]
    frames = np.bincount(units, minlength=n_units)
    result = np.full((len(weights), len(torsions), len(lags)), np.nan)
    for i, column in enumerate(torsions):
        signal = np.exp(1j * row["torsions"][:, column].astype(np.float64))
        sums, counts = lagged_products(signal, trajectory, units, lags)
        parts = [np.bincount(units, weights=part, minlength=n_units) for part in (signal.real, signal.imag)]
        mean = (weights @ (parts[0] + 1j * parts[1])) / (weights @ frames)
        result[:, i] = autocorrelation(weights @ sums, weights @ counts, mean)
    return result


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
