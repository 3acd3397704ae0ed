"""Decorrelation times of MDGen: autocovariances on every lag, above their baseline, to 1/e.

`C(k) = (<sin x_t sin x_{t+k}> + <cos x_t cos x_{t+k}> - b) / (1 - b)` with `b = <sin x>^2 + <cos x>^2`, the means over
all pairs that far apart within a trajectory (statsmodels' `acovf(adjusted=True, demean=False)`). The public analysis
stores C in half precision; here it is in double.
"""

import numpy as np
from jaxtyping import Float, Num
from scipy.fft import fft, ifft, next_fast_len

from mdgen.evaluation.protocols.peptide_torsions import TorsionSeries


def lagged_sums(
    signal: Num[np.ndarray, "frame"], series: TorsionSeries, most: int
) -> tuple[Float[np.ndarray, "trajectory lag"], Float[np.ndarray, "trajectory lag"]]:
    """Sums of `Re z*(t) z(t + k)` over all pairs within each trajectory, and their numbers, k from 0 to `most`."""
    most = min(most, max(series.lengths) - 1)
    sums, pairs = np.zeros((2, len(series.lengths), most + 1))
    for row, piece in enumerate(series.slices()):
        found, length = signal[piece], piece.stop - piece.start
        product = ifft(np.abs(fft(found, next_fast_len(2 * length))) ** 2).real[: min(length, most + 1)]
        sums[row, : len(product)] = product
        pairs[row, : len(product)] = length - np.arange(len(product))
    return sums, pairs


def relaxation_times(
    series: TorsionSeries, longest_ps: float, weights: Float[np.ndarray, "draw trajectory"]
) -> Float[np.ndarray, "draw torsion"]:
    """Time in ps after which each torsion's correlation first lies below 1/e; NaN if it does not within `longest_ps`.

    The time is that of a frame: the text names no interpolation. Each draw counts a trajectory as often as its weight.
    """
    times = np.full((len(weights), series.angles.shape[1]), np.nan)
    for torsion, angles in enumerate(series.angles.T):
        signal = np.exp(1j * angles.astype(np.float64))
        means = np.array([signal[piece].sum() for piece in series.slices()])
        baseline = np.abs(weights @ means / (weights @ np.array(series.lengths))) ** 2
        times[:, torsion] = _first_below(signal, series, longest_ps, weights, baseline)
    return times


def mode_relaxation_time(mode: Float[np.ndarray, "frame"], series: TorsionSeries, longest_ps: float) -> float:
    """The same of a slow mode, whose mean over the reference is zero: `<x_t x_{t+k}> / <x^2>` to 1/e."""
    scaled = mode / np.sqrt((mode**2).mean())
    return float(_first_below(scaled, series, longest_ps, np.ones((1, len(series.lengths))), np.zeros(1))[0])


def _first_below(
    signal: Num[np.ndarray, "frame"],
    series: TorsionSeries,
    longest_ps: float,
    weights: Float[np.ndarray, "draw trajectory"],
    baseline: Float[np.ndarray, "draw"],
) -> Float[np.ndarray, "draw"]:
    """Time at which the correlation above the baseline is first below 1/e, by draw; NaN where it never is."""
    sums, pairs = lagged_sums(signal, series, int(longest_ps / series.frame_spacing_ps))
    times = np.full(len(weights), np.nan)
    for draw, (weight, level) in enumerate(zip(weights, baseline, strict=True)):
        number = weight @ pairs
        with np.errstate(invalid="ignore", divide="ignore"):
            below = ((weight @ sums) / number - level) / (1 - level) < np.exp(-1)
        found = np.flatnonzero(below & (number > 0))
        if level < 1 and len(found):
            times[draw] = found[0] * series.frame_spacing_ps
    return times
