"""Upsampling: motion of the torsions between the key frames that a model was given.

Lags below the spacing of the key frames are those at which the model generated the motion. There the autocorrelation
and the dynamical content `-dC / d ln t` are compared with those of dynamics with as fine a spacing (Jing et al., 2024).
"""

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mdgen.errors import MdgenError
from mdgen.evaluation.metrics.decorrelation import autocorrelation_distances
from mdgen.evaluation.metrics.target import MetricFamily, Target, distance
from mdgen.evaluation.statistics.autocorrelation import lagged_sums, logarithmic_lags, weighted_autocorrelation
from mdgen.evaluation.statistics.block_permutation import BlockPermutation
from mdgen.evaluation.statistics.intervals import estimates
from mdgen.evaluation.statistics.observables import Observables
from mdgen.results import Estimate

LEAST_LAGS = 2
"""Fewest frames that must lie between two key frames."""


class SubframeMetrics(MetricFamily):
    """Autocorrelations at lags below the spacing of key frames, `settings.key_frame_ps`; methyl rotors stay out.

    Raises:
        MdgenError: if the target's frames are too coarse.
    """

    descriptions: ClassVar = {
        "subframe_autocorrelation_rmse": distance(
            "Sub-frame autocorrelation RMSE",
            "for upsampling: root-mean-square difference of the torsions' autocorrelations at lags below the "
            "spacing of the key frames.",
        ),
        "subframe_dynamical_content_rmse": distance(
            "Sub-frame dynamical content RMSE", "the same of the dynamical content -d autocorrelation / d ln t."
        ),
    }

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        key_ps, self.spacing_ps = target.settings.key_frame_ps or 0.0, target.data.frame_spacing_ps
        if key_ps < (LEAST_LAGS + 1) * self.spacing_ps:
            raise MdgenError(
                f"key_frame_ps={key_ps:g} leaves fewer than {LEAST_LAGS} lags below it with a frame every "
                f"{self.spacing_ps:g} ps; give the spacing of the key frames, or finer trajectories"
            )
        self.lags = logarithmic_lags(max(1, round(key_ps / self.spacing_ps) - 1))
        self.lags_ps = self.lags * self.spacing_ps
        self.correlation = self._resampled(target.data)

    @classmethod
    def applies(cls, target: Target) -> bool:
        """With torsions, where a spacing of key frames was given."""
        return target.settings.key_frame_ps is not None and bool(target.torsions)

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`subframe_autocorrelation_rmse/all` and `subframe_dynamical_content_rmse/all`; none for coarser rows."""
        if row.frame_spacing_ps != self.spacing_ps or max(row.lengths) <= self.lags[-1]:
            return {}
        return estimates(self._distances(self._resampled(row), self.correlation), units=row.n_units)

    def permuted(self, blocks: BlockPermutation) -> dict[str, Float[np.ndarray, "draw"]]:
        """Scores of dynamics against itself, draw by draw."""
        sums = lagged_sums(blocks.pool, self.target.moving, self.lags)
        return self._distances(*(weighted_autocorrelation(sums, each) for each in (blocks.row, blocks.target)))

    def curve(self, row: Observables) -> Float[np.ndarray, "lag"]:
        """The mean autocorrelation at `lags_ps` over the torsions that move at all."""
        correlation = self._resampled(row, 0)[0]
        finite = np.isfinite(correlation)
        with np.errstate(invalid="ignore"):
            return np.where(finite, correlation, 0.0).sum(0) / finite.sum(0)

    def _distances(self, here: np.ndarray, there: np.ndarray) -> dict[str, Float[np.ndarray, "resample"]]:
        found = autocorrelation_distances(here, there, self.lags_ps)
        return {f"subframe_{name}": values for name, values in found.items()}

    def _resampled(self, row: Observables, resamples: int | None = None) -> Float[np.ndarray, "resample torsion lag"]:
        weights = self.target.data_and_resamples(row.n_units, resamples)
        return weighted_autocorrelation(lagged_sums(row, self.target.moving, self.lags), weights)
