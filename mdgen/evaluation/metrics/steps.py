"""Changes over a few frames, where jitter on a correct motion, stiffness and a loss of memory show first."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.conformation.measurements import HEAVY_DISTANCES
from mdgen.evaluation.metrics.target import Description, Target, distance
from mdgen.evaluation.metrics.torsion_distances import GROUPS
from mdgen.evaluation.metrics.unit_sums import Sums, UnitSumMetrics
from mdgen.evaluation.statistics.intervals import estimates, percentile_interval
from mdgen.evaluation.statistics.observables import Observables
from mdgen.results import Estimate

LAGS = (1, 2, 5)
"""Lags in frames. Frames shuffled within a few differ most at the first."""

LEAST_DEG, LEAST_NM = 0.1, 1e-4
"""Steps below these count as these, so that the logarithm of a frozen torsion or distance is bounded."""


class StepMetrics(UnitSumMetrics):
    """Steps of torsions at short lags; rows with another frame spacing are left out."""

    needs: ClassVar = ("torsions",)
    descriptions: ClassVar = {
        "step_rms_deg": Description(
            "Step (°)",
            "root-mean-square change of a torsion from one frame to the next; it detects jitter on a correct motion.",
        ),
        "step_log10_error": distance(
            "Step error",
            "mean over torsions of the absolute difference of log10 of these steps, at 1, 2 or 5 frames, whichever is "
            "largest; `all` leaves out methyl rotors. 0.1 is a quarter more or less.",
        ),
    }

    def prepare(self) -> None:
        """Columns of the torsions of each kind."""
        kinds = [torsion.kind for torsion in self.torsions]
        groups = {group: [i for i, kind in enumerate(kinds) if kind in of] for group, of in GROUPS.items()}
        self.groups = {group: members for group, members in groups.items() if members}

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`step_rms_deg/NAME` beside the distances."""
        if row.frame_spacing_ps != self.target.data.frame_spacing_ps:
            return {}
        here = self._resampled(row)
        steps = _root_mean(here)[:, 0]
        named = {f"step_rms_deg/{torsion.name}": steps[:, i] for i, torsion in enumerate(self.torsions)}
        distances = self.distances(here, self._expected)
        return estimates(named, percentile_interval, row.n_units) | estimates(distances, units=row.n_units)

    def sums(self, data: Observables) -> Sums:
        """Number of steps of each lag, and the sums of their squares in square degrees."""
        return _step_sums(data, np.degrees(data["torsions"]), period=360.0)

    def distances(self, row: Sums, target: Sums) -> dict[str, Float[np.ndarray, "draw"]]:
        """`step_log10_error/GROUP`."""
        error = _error(row, target, LEAST_DEG)
        return {f"step_log10_error/{group}": _largest(error[..., of]) for group, of in self.groups.items()}


class PairStepMetrics(UnitSumMetrics):
    """Steps of distances between atoms; rows with another frame spacing are left out."""

    descriptions: ClassVar = {
        "pair_step_log10_error": distance(
            "Pair step error", "the same of the changes of 8 distances between heavy atoms."
        )
    }

    @classmethod
    def applies(cls, target: Target) -> bool:
        """Whether there are pairs of atoms."""
        return "fingerprint" in target.data and target.data["fingerprint"].shape[1] > 0

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`pair_step_log10_error`."""
        return super().__call__(row) if row.frame_spacing_ps == self.target.data.frame_spacing_ps else {}

    def sums(self, data: Observables) -> Sums:
        """Number of steps of each lag, and the sums of their squares in nm^2."""
        return _step_sums(data, data["fingerprint"][:, :HEAVY_DISTANCES])

    def distances(self, row: Sums, target: Sums) -> dict[str, Float[np.ndarray, "draw"]]:
        """`pair_step_log10_error`."""
        return {"pair_step_log10_error": _largest(_error(row, target, LEAST_NM))}


def _step_sums(data: Observables, values: Float[np.ndarray, "frame column"], period: float = 0.0) -> Sums:
    """`count` of (unit, lag) and `squares` of (unit, lag, column), the shorter way round where there is a period."""
    count = np.zeros((data.n_units, len(LAGS)))
    squares = np.zeros((data.n_units, len(LAGS), values.shape[1]))
    for number, lag in enumerate(LAGS):
        together = data.trajectory[lag:] == data.trajectory[:-lag]
        units = data.units[:-lag][together]
        count[:, number] = np.bincount(units, minlength=data.n_units)
        for column in range(values.shape[1]):
            step = (values[lag:, column].astype(np.float64) - values[:-lag, column])[together]
            if period:
                step = (step + period / 2) % period - period / 2
            squares[:, number, column] = np.bincount(units, weights=step**2, minlength=data.n_units)
    return {"count": count, "squares": squares}


def _root_mean(sums: Sums) -> Float[np.ndarray, "draw lag column"]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt(sums["squares"] / sums["count"][..., None]))


def _error(row: Sums, target: Sums, least: float) -> Float[np.ndarray, "draw lag column"]:
    here, there = (np.maximum(_root_mean(sums), least) for sums in (row, target))
    return np.abs(np.log10(here / there))


def _largest(error: Float[np.ndarray, "draw lag column"]) -> Float[np.ndarray, "draw"]:
    """The largest over lags of the mean over columns; lags that no trajectory reaches are left out."""
    mean = error.mean(-1)
    reached = np.where(np.isfinite(mean), mean, -1.0).max(1)
    return np.where(reached < 0, np.nan, reached)
