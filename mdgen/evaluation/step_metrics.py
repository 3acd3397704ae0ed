"""How far each torsion moves from one frame to the next: where jitter on top of a right motion shows first."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.intervals import bootstrap_weights, centred_interval, percentile_interval
from mdgen.evaluation.observables import Observables
from mdgen.evaluation.settings import Settings
from mdgen.molecule.torsions import Torsion
from mdgen.results import Estimate


class StepMetrics:
    """Judges the steps of rows against those of one target; rows with another frame spacing are left out.

    Args:
        target: what rows are compared with.
        torsions: in the order of the `torsions` column.
        settings: resamples and seed.
    """

    def __init__(self, target: Observables, torsions: Sequence[Torsion], settings: Settings) -> None:
        self.torsions, self.settings = torsions, settings
        self.spacing_ps = target.frame_spacing_ps
        self.target = self._resampled(target)

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`step_rms_deg/NAME`, and `step_log10_error/all`, the mean over torsions of its distance from the target's."""
        if not self.torsions or row.frame_spacing_ps != self.spacing_ps:
            return {}
        steps = self._resampled(row)
        result = {
            f"step_rms_deg/{torsion.name}": percentile_interval(float(steps[0, i]), steps[1:, i])
            for i, torsion in enumerate(self.torsions)
            if np.isfinite(steps[0, i])
        }
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.abs(np.log10(steps / self.target)).mean(1)
        if np.isfinite(error[0]):
            result["step_log10_error/all"] = centred_interval(float(error[0]), error[1:])
        return result

    def _resampled(self, row: Observables) -> Float[np.ndarray, "resample torsion"]:
        units, trajectory, angles = row.units, row.trajectory, row["torsions"]
        together, n_units = trajectory[1:] == trajectory[:-1], int(units.max()) + 1
        first = units[:-1][together]
        counts = np.bincount(first, minlength=n_units)
        rng = np.random.default_rng(self.settings.seed)
        weights = np.concatenate([np.ones((1, n_units)), bootstrap_weights(n_units, self.settings.resamples, rng)])
        columns = []
        for i in range(angles.shape[1]):
            step = np.diff(angles[:, i].astype(np.float64))[together]
            step = (step + np.pi) % (2 * np.pi) - np.pi  # the shorter way round
            columns.append(np.bincount(first, weights=step**2, minlength=n_units))
        if not columns:
            return np.zeros((len(weights), 0))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.degrees(np.sqrt((weights @ np.stack(columns, axis=1)) / (weights @ counts)[:, None]))
