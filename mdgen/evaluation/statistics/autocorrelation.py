"""Autocorrelation of angles at lags spread evenly on a log scale, and decorrelation times.

An angle enters as `z = e^{i angle}`, so sine and cosine count together: `C(t) = (Re<z*(0) z(t)> - |<z>|^2) / (1 -
|<z>|^2)`, the correlation above its baseline.
"""

import numpy as np
from jaxtyping import Complex, Float, Int

MOST_STARTS = 200_000
"""Starting frames per lag; more are thinned out evenly, since neighbours are correlated."""


def logarithmic_lags(longest: int, a_decade: int = 12) -> Int[np.ndarray, "lag"]:
    """Different whole numbers from 1 to `longest`, evenly spread on a log scale.

    >>> logarithmic_lags(100, 2).tolist()
    [1, 3, 10, 32, 100]
    """
    number = 1 + round(a_decade * np.log10(max(longest, 1)))
    return np.unique(np.round(np.geomspace(1, max(longest, 1), number)).astype(np.int64))


def lagged_products(
    signal: Complex[np.ndarray, "frame"],
    trajectory: Int[np.ndarray, "frame"],
    units: Int[np.ndarray, "frame"],
    lags: Int[np.ndarray, "lag"],
) -> tuple[Float[np.ndarray, "unit lag"], Float[np.ndarray, "unit lag"]]:
    """Sums of `Re z*(0) z(t)` and the number of pairs in each bootstrap unit, a column a lag."""
    n_units = int(units.max(initial=-1)) + 1
    sums, counts = np.zeros((n_units, len(lags))), np.zeros((n_units, len(lags)))
    stride = max(1, len(signal) // MOST_STARTS)
    for column, lag in enumerate(lags):
        start = np.arange(0, len(signal) - lag, stride)
        start = start[trajectory[start] == trajectory[start + lag]]
        product = (signal[start].conj() * signal[start + lag]).real
        sums[:, column] = np.bincount(units[start], weights=product, minlength=n_units)
        counts[:, column] = np.bincount(units[start], minlength=n_units)
    return sums, counts


def autocorrelation(
    products: Float[np.ndarray, "*batch lag"],
    counts: Float[np.ndarray, "*batch lag"],
    mean: Complex[np.ndarray, "*batch"],
) -> Float[np.ndarray, "*batch lag"]:
    """Correlation above its baseline, 1 at lag 0; NaN where no pair is that far apart, or the angle never moves."""
    baseline = np.abs(mean)[..., None] ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = (products / counts - baseline) / (1 - baseline)
    return np.where(1 - baseline > 1e-9, correlation, np.nan)


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
        high, low = np.log(before), np.log(np.maximum(after, 1e-3))
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
