"""The task of upsampling: how torsions move between the key frames that a model was given.

Lags below the spacing of the key frames are where a model had to make up the motion. There the autocorrelation and the
dynamical content `-dC / d ln t` are held against those of dynamics as fine (Jing et al., 2024).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.autocorrelation_metrics import root_mean_square, weighted_autocorrelation
from mdgen.evaluation.metrics.observables import Observables
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.autocorrelation import dynamical_content, logarithmic_lags
from mdgen.evaluation.statistics.block_permutation import Deals
from mdgen.evaluation.statistics.intervals import bootstrap_weights, centred_interval, spread
from mdgen.molecule.torsions import Torsion
from mdgen.results import Estimate

LEAST_LAGS = 2
"""Key frames must be further apart than so many frames, or there is nothing between them to speak of."""


class SubframeMetrics:
    """Judges rows at lags below the spacing of key frames; methyl rotors stay out.

    Args:
        target: dynamics with frames finer than the key frames.
        torsions: in the order of the `torsions` column.
        key_ps: spacing of the key frames.
        settings: resamples and seed.
    """

    def __init__(self, target: Observables, torsions: Sequence[Torsion], key_ps: float, settings: Settings) -> None:
        self.counted = [i for i, torsion in enumerate(torsions) if torsion.kind != "methyl"]
        self.settings, self.spacing_ps = settings, target.frame_spacing_ps
        self.lags = subframe_lags(key_ps, self.spacing_ps)
        self.target = self._resampled(target, settings.resamples)

    @property
    def lags_ps(self) -> Float[np.ndarray, "lag"]:
        """The lags at which rows are judged."""
        return self.lags * self.spacing_ps

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`subframe_autocorrelation_rmse/all` and `subframe_dynamical_content_rmse/all`; none for coarser rows."""
        if row.frame_spacing_ps != self.spacing_ps or max(row.lengths) <= self.lags[-1]:
            return {}
        found = self._differences(self._resampled(row, self.settings.resamples), self.target)
        return {n: centred_interval(float(v[0]), v[1:]) for n, v in found.items() if np.isfinite(v[0])}

    def dealt(self, deals: Deals) -> dict[str, Estimate]:
        """What dynamics scores against itself, with the spread of its luck."""
        hands = [self._weighted(deals.pool, weights) for weights in (deals.row, deals.target)]
        found = self._differences(*hands)
        return {name: spread(values) for name, values in found.items() if np.isfinite(values).any()}

    def curve(self, row: Observables) -> Float[np.ndarray, "lag"]:
        """The mean autocorrelation over torsions at `lags_ps`."""
        return mean_over_torsions(self._resampled(row, 0)[0])

    def _differences(self, here: np.ndarray, there: np.ndarray) -> dict[str, Float[np.ndarray, "resample"]]:
        lost, expected = (dynamical_content(x, self.lags_ps) for x in (here, there))
        return {
            "subframe_autocorrelation_rmse/all": root_mean_square(here - there),
            "subframe_dynamical_content_rmse/all": root_mean_square(lost - expected),
        }

    def _resampled(self, row: Observables, resamples: int) -> Float[np.ndarray, "resample torsion lag"]:
        n_units = int(row.units.max()) + 1
        drawn = bootstrap_weights(n_units, resamples, np.random.default_rng(self.settings.seed))
        return self._weighted(row, np.concatenate([np.ones((1, n_units)), drawn]))

    def _weighted(self, row: Observables, weights: np.ndarray) -> np.ndarray:
        return weighted_autocorrelation(row, self.counted, self.lags, weights)


def subframe_lags(key_ps: float, spacing_ps: float) -> np.ndarray:
    """Lags in frames below the spacing of the key frames.

    >>> subframe_lags(10.0, 2.0).tolist()
    [1, 2, 3, 4]
    """
    return logarithmic_lags(max(1, round(key_ps / spacing_ps) - 1))


def mean_over_torsions(correlation: Float[np.ndarray, "torsion lag"]) -> Float[np.ndarray, "lag"]:
    """The mean over the torsions that move at all."""
    finite = np.isfinite(correlation)
    with np.errstate(invalid="ignore"):
        return np.where(finite, correlation, 0.0).sum(0) / finite.sum(0)
