"""How far each torsion moves from one frame to the next: where jitter on top of a right motion shows first."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.observables import Observables
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.block_permutation import Deals
from mdgen.evaluation.statistics.intervals import bootstrap_weights, centred_interval, percentile_interval, spread
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
        error = _error(steps, self.target)
        if np.isfinite(error[0]):
            result["step_log10_error/all"] = centred_interval(float(error[0]), error[1:])
        return result

    def dealt(self, deals: Deals) -> dict[str, Estimate]:
        """What dynamics scores against itself, with the spread of its luck."""
        if not self.torsions:
            return {}
        error = _error(_steps(deals.pool, deals.row), _steps(deals.pool, deals.target))
        return {"step_log10_error/all": spread(error)} if np.isfinite(error).any() else {}

    def _resampled(self, row: Observables) -> Float[np.ndarray, "resample torsion"]:
        n_units = int(row.units.max()) + 1
        drawn = bootstrap_weights(n_units, self.settings.resamples, np.random.default_rng(self.settings.seed))
        return _steps(row, np.concatenate([np.ones((1, n_units)), drawn]))


def _error(steps: np.ndarray, others: np.ndarray) -> Float[np.ndarray, "resample"]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(np.log10(steps / others)).mean(1)


def _steps(row: Observables, weights: Float[np.ndarray, "resample unit"]) -> Float[np.ndarray, "resample torsion"]:
    """Root-mean-square steps in degrees, of the row with each unit weighted."""
    units, trajectory, angles = row.units, row.trajectory, row["torsions"]
    together, n_units = trajectory[1:] == trajectory[:-1], weights.shape[1]
    first = units[:-1][together]
    counts = np.bincount(first, minlength=n_units)
    columns = []
    for i in range(angles.shape[1]):
        step = np.diff(angles[:, i].astype(np.float64))[together]
        step = (step + np.pi) % (2 * np.pi) - np.pi  # the shorter way round
        columns.append(np.bincount(first, weights=step**2, minlength=n_units))
    if not columns:
        return np.zeros((len(weights), 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.degrees(np.sqrt((weights @ np.stack(columns, axis=1)) / (weights @ counts)[:, None]))
