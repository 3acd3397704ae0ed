"""Shares of broken, mirrored and clashing frames, and the size of the molecule, with intervals."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from mdgen.evaluation.metrics.observables import Observables
from mdgen.evaluation.metrics.structure import CHECKS
from mdgen.evaluation.metrics.torsion_metrics import ramachandran_pairs
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.distributions import angle_bins
from mdgen.evaluation.statistics.intervals import bootstrap_weights, percentile_interval
from mdgen.molecule.torsions import Torsion
from mdgen.results import Estimate

RAMACHANDRAN_BINS = 36


class StructureMetrics:
    """Measures the structure of rows; only Ramachandran outliers need the target.

    Args:
        target: whose occupied (phi, psi) cells of 10 degrees are allowed.
        torsions: in the order of the `torsions` column.
        settings: thresholds and resamples.
    """

    def __init__(self, target: Observables, torsions: Sequence[Torsion], settings: Settings) -> None:
        self.torsions, self.settings = torsions, settings
        self.pairs = ramachandran_pairs(torsions)
        self._allowed = [
            np.bincount(self._cells(target, pair), minlength=RAMACHANDRAN_BINS**2) for _, pair in self.pairs
        ]

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """Shares of frames, root-mean-square deviations and the radius of gyration."""
        columns = {name: row["structure"][:, i] for i, name in enumerate(CHECKS)}
        checked = np.isfinite(columns["bond_max_nm"])
        units = row.units[checked]
        columns = {name: column[checked].astype(np.float64) for name, column in columns.items()}
        size = columns["radius_of_gyration_nm"]
        frames: dict[str, np.ndarray] = {
            "broken_bond_share": columns["bond_max_nm"] > self.settings.broken_bond_nm,
            "broken_angle_share": columns["angle_max_deg"] > self.settings.broken_angle_deg,
            "chirality_error_share": columns["chirality_errors"] > 0,
            "clash_share": columns["clashes"] > 0,
            "radius_of_gyration_nm": size,
        }
        result = {name: self._mean(values, units) for name, values in frames.items()}
        for name in ("bond_rms_nm", "angle_rms_deg"):
            result[name] = self._mean(columns[name] ** 2, units, root=True)
        near = np.isfinite(columns["closest_nm"])
        if near.any():
            result["closest_nm"] = self._mean(
                columns["closest_nm"][near], np.unique(units[near], return_inverse=True)[1]
            )
        result["radius_of_gyration_sd_nm"] = self._mean((size - size.mean()) ** 2, units, root=True)
        return {**result, **self._torsion_shares(row)}

    def _torsion_shares(self, row: Observables) -> dict[str, Estimate]:
        result = {}
        omega = [i for i, torsion in enumerate(self.torsions) if torsion.kind == "omega"]
        if omega:
            cis = (np.abs(row["torsions"][:, omega]) < np.pi / 2).any(1)
            result["cis_share"] = self._mean(cis, row.units)
        if self.pairs:
            outlier = np.zeros(row.n_frames, dtype=bool)
            for (_, pair), allowed in zip(self.pairs, self._allowed, strict=True):
                outlier |= allowed[self._cells(row, pair)] == 0
            result["ramachandran_outlier_share"] = self._mean(outlier, row.units)
        return result

    def _cells(self, row: Observables, pair: tuple[int, int]) -> Int[np.ndarray, "frame"]:
        bins = RAMACHANDRAN_BINS
        phi, psi = (angle_bins(row["torsions"][:, column], bins) for column in pair)
        return phi * bins + psi

    def _mean(
        self, values: Float[np.ndarray, "frame"] | np.ndarray, units: Int[np.ndarray, "frame"], root: bool = False
    ) -> Estimate:
        sums, counts = np.bincount(units, weights=values), np.bincount(units)
        weights = bootstrap_weights(len(sums), self.settings.resamples, np.random.default_rng(self.settings.seed))
        value, samples = sums.sum() / counts.sum(), (weights @ sums) / np.maximum(weights @ counts, 1)
        return percentile_interval(np.sqrt(value), np.sqrt(samples)) if root else percentile_interval(value, samples)
