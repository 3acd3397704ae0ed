"""Changes over a few frames, where jitter on a correct motion, stiffness and a loss of memory show first."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.target import Description, distance
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
    """Steps of torsions and of pair distances at short lags; rows with another frame spacing are left out."""

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
        "pair_step_log10_error": distance(
            "Pair step error", "the same of the changes of 16 distances between atoms, hydrogens included."
        ),
    }

    def prepare(self) -> None:
        """Frame spacing, and the torsions of each kind."""
        self.spacing_ps = self.target.data.frame_spacing_ps
        kinds = [torsion.kind for torsion in self.torsions]
        groups = {group: [i for i, kind in enumerate(kinds) if kind in of] for group, of in GROUPS.items()}
        self.groups = {group: members for group, members in groups.items() if members}

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`step_rms_deg/NAME` beside the distances."""
        if row.frame_spacing_ps != self.spacing_ps:
            return {}
        here = self._resampled(row)
        steps = _root_mean(here, "torsions", 0.0)[:, 0]
        named = {f"step_rms_deg/{torsion.name}": steps[:, i] for i, torsion in enumerate(self.torsions)}
        return estimates(named, percentile_interval) | estimates(self.distances(here, self._expected))

    def sums(self, data: Observables) -> Sums:
        """Number of pairs of frames at each lag, and sums of squared steps of torsions and of pair distances."""
        counts, torsions, pairs = [], [], []
        for lag in LAGS:
            together = data.trajectory[lag:] == data.trajectory[:-lag]
            units = data.units[:-lag][together]
            counts.append(np.bincount(units, minlength=data.n_units).astype(np.float64))
            torsions.append(_squares(data["torsions"], together, units, data.n_units, lag, 2 * np.pi))
            if "fingerprint" in data:
                pairs.append(_squares(data["fingerprint"], together, units, data.n_units, lag))
        found = {"count": np.stack(counts, axis=1), "torsions": np.degrees(1) ** 2 * np.stack(torsions, axis=1)}
        return found | ({"pairs": np.stack(pairs, axis=1)} if pairs else {})

    def distances(self, row: Sums, target: Sums) -> dict[str, Float[np.ndarray, "draw"]]:
        """`step_log10_error/GROUP` and `pair_step_log10_error/all`."""
        error = _error(row, target, "torsions", LEAST_DEG)
        found = {f"step_log10_error/{group}": _largest(error[..., of]) for group, of in self.groups.items()}
        if "pairs" in row and "pairs" in target and row["pairs"].shape[-1]:
            found["pair_step_log10_error/all"] = _largest(_error(row, target, "pairs", LEAST_NM))
        return found


def _squares(
    values: np.ndarray, together: np.ndarray, units: np.ndarray, n_units: int, lag: int, period: float = 0.0
) -> Float[np.ndarray, "unit column"]:
    """Sums over units of the squared changes of each column, the shorter way round where it is periodic."""
    columns = []
    for column in values.T:
        step = (column[lag:].astype(np.float64) - column[:-lag])[together]
        if period:
            step = (step + period / 2) % period - period / 2
        columns.append(np.bincount(units, weights=step**2, minlength=n_units))
    return np.stack(columns, axis=1) if columns else np.zeros((n_units, 0))


def _root_mean(sums: Sums, name: str, least: float) -> Float[np.ndarray, "draw lag column"]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.maximum(np.sqrt(sums[name] / sums["count"][..., None]), least)


def _error(row: Sums, target: Sums, name: str, least: float) -> Float[np.ndarray, "draw lag column"]:
    return np.abs(np.log10(_root_mean(row, name, least) / _root_mean(target, name, least)))


def _largest(error: Float[np.ndarray, "draw lag column"]) -> Float[np.ndarray, "draw"]:
    """The largest over lags of the mean over columns; lags that no trajectory reaches are left out."""
    mean = error.mean(-1)
    reached = np.where(np.isfinite(mean), mean, -1.0).max(1)
    return np.where(reached < 0, np.nan, reached)
