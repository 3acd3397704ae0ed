"""Change of each torsion from one frame to the next, where jitter on top of a correct motion shows first."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.target import Description, MetricFamily, Target, distance
from mdgen.evaluation.statistics.block_permutation import BlockPermutation
from mdgen.evaluation.statistics.intervals import estimates, percentile_interval
from mdgen.evaluation.statistics.observables import Observables
from mdgen.results import Estimate


class StepMetrics(MetricFamily):
    """Steps of the torsions and their distance from the target's; rows with another frame spacing are left out."""

    needs: ClassVar = ("torsions",)
    descriptions: ClassVar = {
        "step_rms_deg": Description(
            "Step (°)",
            "root-mean-square change of a torsion from one frame to the next; it detects jitter on a correct motion.",
        ),
        "step_log10_error": distance(
            "Step error", "mean over torsions of the absolute difference of log10 of the root-mean-square step."
        ),
    }

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.spacing_ps = target.data.frame_spacing_ps
        self.steps = self._resampled(target.data)

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`step_rms_deg/NAME`, and `step_log10_error/all`, the mean over torsions of its distance from the target's."""
        if row.frame_spacing_ps != self.spacing_ps:
            return {}
        steps = self._resampled(row)
        named = {f"step_rms_deg/{torsion.name}": steps[:, i] for i, torsion in enumerate(self.torsions)}
        error = {"step_log10_error/all": _error(steps, self.steps)}
        return estimates(named, percentile_interval, row.n_units) | estimates(error, units=row.n_units)

    def permuted(self, blocks: BlockPermutation) -> dict[str, Float[np.ndarray, "draw"]]:
        """Scores of dynamics against itself, draw by draw."""
        error = _error(_steps(blocks.pool, blocks.row), _steps(blocks.pool, blocks.target))
        return {"step_log10_error/all": error}

    def _resampled(self, row: Observables) -> Float[np.ndarray, "resample torsion"]:
        return _steps(row, self.target.data_and_resamples(row.n_units))


def _error(steps: np.ndarray, others: np.ndarray) -> Float[np.ndarray, "resample"]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(np.log10(steps / others)).mean(1)


def _steps(row: Observables, weights: Float[np.ndarray, "resample unit"]) -> Float[np.ndarray, "resample torsion"]:
    """Root-mean-square steps in degrees, with each unit of the row weighted."""
    angles, together = row["torsions"], row.trajectory[1:] == row.trajectory[:-1]
    first, n_units = row.units[:-1][together], weights.shape[1]
    counts = np.bincount(first, minlength=n_units)
    columns = []
    for i in range(angles.shape[1]):
        step = np.diff(angles[:, i].astype(np.float64))[together]
        step = (step + np.pi) % (2 * np.pi) - np.pi  # the shorter way round
        columns.append(np.bincount(first, weights=step**2, minlength=n_units))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.degrees(np.sqrt((weights @ np.stack(columns, axis=1)) / (weights @ counts)[:, None]))
