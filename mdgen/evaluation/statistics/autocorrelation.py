"""Autocorrelation of angles at lags spread evenly on a log scale, and decorrelation times.

An angle enters as `z = e^{i angle}`, so sine and cosine count together: `C(t) = (Re<z*(0) z(t)> - |<z>|^2) / (1 -
|<z>|^2)`, the correlation above its baseline.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float, Int

from mdgen.evaluation.statistics.observables import Observables

VALUES_AT_A_TIME = 2_000_000
"""Angles whose products are taken at a time, which bounds the memory."""

LEAST_LEFT = 1e-3
"""What is left of a correlation, at least, on a log scale."""


def logarithmic_lags(longest: int, a_decade: int = 12) -> Int[np.ndarray, "lag"]:
    """Different whole numbers from 1 to `longest`, evenly spread on a log scale.

    >>> logarithmic_lags(100, 2).tolist()
    [1, 3, 10, 32, 100]
    """
    number = 1 + round(a_decade * np.log10(max(longest, 1)))
    return np.unique(np.round(np.geomspace(1, max(longest, 1), number)).astype(np.int64))


def lagged_products(
    signal: Complex[np.ndarray, "frame *column"],
    trajectory: Int[np.ndarray, "frame"],
    units: Int[np.ndarray, "frame"],
    lags: Int[np.ndarray, "lag"],
) -> tuple[Float[np.ndarray, "unit *column lag"], Float[np.ndarray, "unit lag"]]:
    """Sums of `Re z*(0) z(t)` and the number of pairs in the bootstrap unit of the first frame, a column a lag."""
    n_units = int(units.max(initial=-1)) + 1
    # Re z* w is a scalar product of real and imaginary parts: one product for all frames of a unit in a row.
    parts = np.ascontiguousarray(signal.reshape(len(signal), -1).T, dtype=np.complex128).view(np.float64)
    sums, counts = np.zeros((n_units, len(parts), len(lags))), np.zeros((n_units, len(lags)))
    starts = np.flatnonzero((np.diff(trajectory, prepend=-1) != 0) | (np.diff(units, prepend=-1) != 0))
    limits = np.searchsorted(trajectory, trajectory[starts], side="right")
    for start, end, limit in zip(starts.tolist(), [*starts[1:].tolist(), len(signal)], limits.tolist(), strict=True):
        for column, lag in enumerate(lags[: np.searchsorted(lags, limit - start)].tolist()):  # those that fit
            stop = min(end, limit - lag)
            now, then = parts[:, 2 * start : 2 * stop], parts[:, 2 * (start + lag) : 2 * (stop + lag)]
            sums[units[start], :, column] += np.einsum("ij,ij->i", now, then)
            counts[units[start], column] += stop - start
    return sums.reshape(n_units, *signal.shape[1:], len(lags)), counts


def autocorrelation(
    products: Float[np.ndarray, "*batch lag"],
    counts: Float[np.ndarray, "*#batch lag"],
    mean: Complex[np.ndarray, "*batch"],
) -> Float[np.ndarray, "*batch lag"]:
    """Correlation above its baseline, 1 at lag 0; NaN where no pair is that far apart, or the angle never moves."""
    baseline = np.abs(mean)[..., None] ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = (products / counts - baseline) / (1 - baseline)
    return np.where(1 - baseline > 1e-9, correlation, np.nan)


class LaggedSums(NamedTuple):
    """Sums over the frames of each unit from which autocorrelations follow.

    Args:
        lags: lags in frames.
        products: sums of `Re z*(0) z(t)`, z the unit circle's point of an angle.
        counts: number of pairs of frames.
        first: sums of z.
        frames: number of frames.
    """

    lags: Int[np.ndarray, "lag"]
    products: Float[np.ndarray, "unit torsion lag"]
    counts: Float[np.ndarray, "unit lag"]
    first: Complex[np.ndarray, "unit torsion"]
    frames: Int[np.ndarray, "unit"]

    def at(self, lags: Int[np.ndarray, "lag"]) -> "LaggedSums":
        """The same at some of the lags."""
        kept = np.searchsorted(self.lags, lags)
        return self._replace(lags=lags, products=self.products[..., kept], counts=self.counts[:, kept])


def lagged_sums(row: Observables, torsions: Sequence[int], lags: Int[np.ndarray, "lag"]) -> LaggedSums:
    """The sums of some torsions, by column."""
    units, n_units, at_a_time = row.units, row.n_units, max(1, VALUES_AT_A_TIME // row.n_frames)
    products = np.zeros((n_units, len(torsions), len(lags)))
    counts, first = np.zeros((n_units, len(lags))), np.zeros((n_units, len(torsions)), dtype=np.complex128)
    for start in range(0, len(torsions), at_a_time):
        part = slice(start, start + at_a_time)
        signal = np.exp(1j * row["torsions"][:, list(torsions[part])].astype(np.float64))
        products[:, part], counts = lagged_products(signal, row.trajectory, units, lags)
        for column, values in enumerate(signal.T, start):
            real, imaginary = (np.bincount(units, weights=x, minlength=n_units) for x in (values.real, values.imag))
            first[:, column] = real + 1j * imaginary
    return LaggedSums(lags, products, counts, first, np.bincount(units, minlength=n_units))


def weighted_autocorrelation(
    sums: LaggedSums, weights: Float[np.ndarray, "resample unit"]
) -> Float[np.ndarray, "resample torsion lag"]:
    """The autocorrelation of each torsion with the units weighted."""
    mean = (weights @ sums.first) / (weights @ sums.frames)[:, None]
    return autocorrelation(np.tensordot(weights, sums.products, axes=1), (weights @ sums.counts)[:, None], mean)


def decorrelation_time(
    correlation: Float[np.ndarray, "*batch lag"], lags: Float[np.ndarray, "lag"]
) -> Float[np.ndarray, "*batch"]:
    """The lag at which the correlation first falls to 1/e; NaN where it does not within the lags.

    Between two lags its logarithm is taken as linear, which is exact for an exponential. A time below the shortest lag
    is an upper bound.
    """
    values = np.concatenate([np.ones((*correlation.shape[:-1], 1)), correlation], axis=-1)
    at = np.concatenate([[0.0], lags])
    below = values <= np.exp(-1)
    end = np.maximum(below.argmax(-1), 1)
    before, after = (np.take_along_axis(values, each[..., None], -1)[..., 0] for each in (end - 1, end))
    with np.errstate(divide="ignore", invalid="ignore"):
        high, low = np.log(before), np.log(np.maximum(after, LEAST_LEFT))
        share = np.where(high > low, (high + 1) / (high - low), 1.0)
    times = at[end - 1] + share * (at[end] - at[end - 1])
    return np.where(below.any(-1), times, np.nan)


def dynamical_content(
    correlation: Float[np.ndarray, "*batch lag"], lags: Float[np.ndarray, "lag"]
) -> Float[np.ndarray, "*batch lag"]:
    """`-dC / d ln t`: how much of the correlation is lost about each time scale; it integrates to the whole loss."""
    if len(lags) < 2:
        return np.full_like(correlation, np.nan)
    return -np.gradient(correlation, np.log(lags), axis=-1)
