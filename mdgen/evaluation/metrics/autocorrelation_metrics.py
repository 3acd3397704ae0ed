"""How long each torsion remembers, and how its memory fades, beside the target's."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from mdgen.evaluation.metrics.observables import Observables
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.autocorrelation import (
    autocorrelation,
    decorrelation_time,
    dynamical_content,
    lagged_products,
    logarithmic_lags,
)
from mdgen.evaluation.statistics.block_permutation import Deals
from mdgen.evaluation.statistics.intervals import bootstrap_weights, centred_interval, ratio_interval, spread
from mdgen.molecule.torsions import Torsion
from mdgen.results import Estimate

SHORTEST = 20
"""Fewer frames than this in every trajectory have no autocorrelation to speak of."""


class CorrelationMetrics:
    """Judges the autocorrelations of rows against those of one target; methyl rotors stay out of the means.

    Lags go up to half of the longest trajectory or a thirtieth of all the frames: beyond that there is only noise.

    Args:
        target: what rows are compared with.
        torsions: in the order of the `torsions` column.
        settings: resamples and seed.
    """

    def __init__(self, target: Observables, torsions: Sequence[Torsion], settings: Settings) -> None:
        self.torsions, self.settings = torsions, settings
        self.counted = [i for i, torsion in enumerate(torsions) if torsion.kind != "methyl"]
        self.lags_ps, self.target = self._resampled(target)
        self.target_times = self._times(self.lags_ps, self.target)

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`decorrelation_ps/NAME`, `decorrelation_log10_error/all`, `autocorrelation_rmse/all` and so on."""
        if not self.counted or max(row.lengths) < SHORTEST:
            return {}
        lags_ps, correlation = self._resampled(row)
        times = self._times(lags_ps, correlation)
        result = {
            f"decorrelation_ps/{torsion.name}": ratio_interval(times[0, i], times[1:, i])
            for i, torsion in enumerate(self.torsions)
            if np.isfinite(times[0, i])
        }
        error = time_error(times, longest(correlation, lags_ps), self.target_times, longest(self.target, self.lags_ps))
        differences = self._differences(self._at_target_lags(lags_ps, correlation), self.target, error)
        return {
            **result,
            **{n: centred_interval(float(v[0]), v[1:]) for n, v in differences.items() if np.isfinite(v[0])},
        }

    def dealt(self, deals: Deals) -> dict[str, Estimate]:
        """What dynamics scores against itself, with the spread of its luck."""
        if not self.counted or max(deals.pool.lengths) < SHORTEST:
            return {}
        lags = np.round(self.lags_ps / deals.pool.frame_spacing_ps).astype(np.int64)
        columns = range(len(self.torsions))
        hands = [weighted_autocorrelation(deals.pool, columns, lags, weights) for weights in (deals.row, deals.target)]
        (mine, end), (others, other_end) = (
            (self._times(self.lags_ps, hand), longest(hand, self.lags_ps)) for hand in hands
        )
        found = self._differences(hands[0], hands[1], time_error(mine, end, others, other_end))
        return {name: spread(values) for name, values in found.items() if np.isfinite(values).any()}

    def _differences(
        self, here: np.ndarray, there: np.ndarray, error: Float[np.ndarray, "resample torsion"]
    ) -> dict[str, Float[np.ndarray, "resample"]]:
        """Distances of two sets of autocorrelations at the target's lags, beside the error of decorrelation times."""
        here, there = here[:, self.counted], there[:, self.counted]
        lost, expected = (dynamical_content(x[..., ::2], self.lags_ps[::2]) for x in (here, there))
        return {
            "decorrelation_log10_error/all": _mean(error[:, self.counted]),
            "autocorrelation_rmse/all": root_mean_square(here - there),
            "dynamical_content_rmse/all": root_mean_square(lost - expected),
        }

    def curve(self, row: Observables) -> np.ndarray:
        """Autocorrelation `(torsion, lag)` of a row at the lags `lags_ps`."""
        return self._at_target_lags(*self._resampled(row, resamples=0))[0]

    def _at_target_lags(self, lags_ps: np.ndarray, correlation: np.ndarray) -> np.ndarray:
        """Interpolated in log t; NaN where the row's frame spacing or length says nothing."""
        if np.array_equal(lags_ps, self.lags_ps):
            return correlation
        flat = correlation.reshape(-1, len(lags_ps))
        x, at = np.log(lags_ps), np.log(self.lags_ps)
        values = [np.interp(at, x, line, left=np.nan, right=np.nan) for line in flat]
        return np.array(values).reshape(*correlation.shape[:-1], len(at))

    def _times(self, lags_ps: np.ndarray, correlation: np.ndarray) -> np.ndarray:
        return decorrelation_time(np.nan_to_num(correlation, nan=1.0), lags_ps)

    def _resampled(self, row: Observables, resamples: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Lags in ps, and the autocorrelation `(resample, torsion, lag)` of the row, first, and of its resamples."""
        lags = logarithmic_lags(max(1, min(max(row.lengths) // 2, row.n_frames // 30)))
        n_units = int(row.units.max()) + 1
        rng = np.random.default_rng(self.settings.seed)
        drawn = bootstrap_weights(n_units, self.settings.resamples if resamples is None else resamples, rng)
        weights = np.concatenate([np.ones((1, n_units)), drawn])
        return lags * row.frame_spacing_ps, weighted_autocorrelation(row, range(len(self.torsions)), lags, weights)


def time_error(
    times: Float[np.ndarray, "resample torsion"],
    longest_ps: Float[np.ndarray, "resample torsion"],
    others: Float[np.ndarray, "resample torsion"],
    others_longest_ps: Float[np.ndarray, "resample torsion"],
) -> Float[np.ndarray, "resample torsion"]:
    """`|log10(time / other)|`; a time beyond the lags, NaN, counts as the longest lag, which is the least it can be.

    Were such a torsion left out, one that the generated trajectories never turn would cost them nothing. NaN where the
    lags of the one end before the time of the other, or neither is known: nothing then tells them apart.

    >>> known, beyond = [(np.array([[time]]), np.array([[200.0]])) for time in (2.0, np.nan)]
    >>> print(time_error(*known, *beyond), time_error(*beyond, *known), time_error(*beyond, *beyond))
    [[2.]] [[2.]] [[nan]]
    """
    lost, others_lost = np.isnan(times), np.isnan(others)
    here, there = np.where(lost, longest_ps, times), np.where(others_lost, others_longest_ps, others)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.log10(here / there)
    unknown = (lost & (others_lost | (error < 0))) | (others_lost & (error > 0))
    return np.where(unknown, np.nan, np.abs(error))


def longest(
    correlation: Float[np.ndarray, "resample torsion lag"], lags_ps: Float[np.ndarray, "lag"]
) -> Float[np.ndarray, "resample torsion"]:
    """The longest lag at which each correlation is known; the longest of all for a torsion that never moves."""
    known = np.isfinite(correlation)
    return lags_ps[len(lags_ps) - 1 - known[..., ::-1].argmax(-1)]


def weighted_autocorrelation(
    row: Observables,
    torsions: Sequence[int],
    lags: Int[np.ndarray, "lag"],
    weights: Float[np.ndarray, "resample unit"],
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


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is finite."""
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(finite, values, 0).sum(-1) / finite.sum(-1)


def root_mean_square(difference: np.ndarray) -> np.ndarray:
    """Root mean square over all axes but the first."""
    return np.sqrt(_mean((difference**2).reshape(len(difference), -1)))
