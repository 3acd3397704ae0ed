"""Shares of broken, mirrored and clashing frames, and the size of the molecule, with intervals."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from mdgen.evaluation.metrics.structure_checks import CHECKS
from mdgen.evaluation.metrics.target import Description, MetricFamily, Target, distance
from mdgen.evaluation.metrics.torsion_distances import pair_bins, ramachandran_pairs
from mdgen.evaluation.statistics.block_permutation import BlockPermutation
from mdgen.evaluation.statistics.intervals import frame_mean
from mdgen.evaluation.statistics.observables import Observables
from mdgen.results import Estimate

RAMACHANDRAN_BINS = 36
"""Cells of 10 degrees; those of (phi, psi) that the target visits are allowed."""


class StructureMetrics(MetricFamily):
    """Structure of rows; only Ramachandran outliers need the target."""

    descriptions: ClassVar = {
        "broken_bond_share": Description(
            "Broken bonds", "share of frames with a bond off its ideal length by more than 0.03 nm."
        ),
        "bond_rms_nm": Description(
            "Bond RMS (nm)", "root-mean-square deviation of bonds from the reference's mean lengths."
        ),
        "broken_angle_share": Description(
            "Broken angles", "share of frames with an angle off its ideal value by more than 30 degrees."
        ),
        "angle_rms_deg": Description(
            "Angle RMS (°)", "root-mean-square deviation of angles from the reference's means."
        ),
        "chirality_error_share": Description(
            "Wrong chirality", "share of frames with a stereocentre of the wrong handedness."
        ),
        "clash_share": Description(
            "Clashes",
            "share of frames in which two heavy atoms more than three bonds apart overlap: closer than the sum of "
            "their van der Waals radii less 0.04 nm.",
        ),
        "closest_nm": Description(
            "Closest contact (nm)",
            "mean over frames of the smallest distance between two heavy atoms more than three bonds apart.",
        ),
        "radius_of_gyration_nm": Description("Rg (nm)", "mean radius of gyration."),
        "radius_of_gyration_sd_nm": Description("Rg sd (nm)", "standard deviation of the radius of gyration."),
        "cis_share": Description("cis omega", "share of frames with a peptide bond in cis."),
        "ramachandran_outlier_share": distance(
            "Ramachandran outliers",
            "share of frames with a residue in a cell of 10 degrees of phi and psi that the reference never visits.",
        ),
    }

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.pairs = [pair for _, pair in ramachandran_pairs(target.torsions)]
        bins = RAMACHANDRAN_BINS
        self._visits = [np.bincount(pair_bins(target.data, pair, bins), minlength=bins**2) for pair in self.pairs]

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """Shares of frames, root-mean-square deviations and the radius of gyration."""
        checked, columns = _checked(row)
        units, size = row.units[checked], columns["radius_of_gyration_nm"]
        result = {name: self._mean(values, units) for name, values in self._faults(columns).items()}
        result["radius_of_gyration_nm"] = self._mean(size, units)
        for name in ("bond_rms_nm", "angle_rms_deg"):
            result[name] = self._mean(columns[name] ** 2, units, root=True)
        near = np.isfinite(columns["closest_nm"])
        if near.any():
            near_units = np.unique(units[near], return_inverse=True)[1]
            result["closest_nm"] = self._mean(columns["closest_nm"][near], near_units)
        result["radius_of_gyration_sd_nm"] = self._mean((size - size.mean()) ** 2, units, root=True)
        torsion_faults = self._torsion_faults(row).items()
        return result | {name: self._mean(values, row.units) for name, values in torsion_faults}

    def permuted(self, blocks: BlockPermutation) -> dict[str, Float[np.ndarray, "draw"]]:
        """Absolute differences of the shares, draw by draw."""
        checked, columns = _checked(blocks.pool)
        found = {name: (values, checked) for name, values in self._faults(columns).items()}
        found |= {name: (values, slice(None)) for name, values in self._torsion_faults(blocks.pool).items()}
        return {name: _share_difference(blocks, values, frames) for name, (values, frames) in found.items()}

    def _faults(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Whether each checked frame is faulty, by metric."""
        return {
            "broken_bond_share": columns["bond_max_nm"] > self.settings.broken_bond_nm,
            "broken_angle_share": columns["angle_max_deg"] > self.settings.broken_angle_deg,
            "chirality_error_share": columns["chirality_errors"] > 0,
            "clash_share": columns["clashes"] > 0,
        }

    def _torsion_faults(self, row: Observables) -> dict[str, np.ndarray]:
        """Whether each frame is faulty by its torsions, by metric."""
        result = {}
        omega = [i for i, torsion in enumerate(self.torsions) if torsion.kind == "omega"]
        if omega:
            result["cis_share"] = (np.abs(row["torsions"][:, omega]) < np.pi / 2).any(1)
        if self.pairs:
            outlier = np.zeros(row.n_frames, dtype=bool)
            for pair, visits in zip(self.pairs, self._visits, strict=True):
                outlier |= visits[pair_bins(row, pair, RAMACHANDRAN_BINS)] == 0
            result["ramachandran_outlier_share"] = outlier
        return result

    def _mean(self, values: np.ndarray, units: Int[np.ndarray, "frame"], root: bool = False) -> Estimate:
        return frame_mean(values, units, self.target.settings.resamples, self.target.rng(), root)


def _checked(row: Observables) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Which frames were checked, and their columns by name."""
    checked = np.isfinite(row["structure"][:, CHECKS.index("bond_max_nm")])
    table = row["structure"][checked].astype(np.float64)
    return checked, {name: table[:, i] for i, name in enumerate(CHECKS)}


def _share_difference(
    blocks: BlockPermutation, values: np.ndarray, frames: np.ndarray | slice
) -> Float[np.ndarray, "draw"]:
    """Absolute difference of the shares of frames for which `values` hold in the two samples."""
    units, number = blocks.pool.units[frames], blocks.row.shape[1]
    sums = np.stack([np.bincount(units, weights, minlength=number) for weights in (values, np.ones(len(units)))], 1)

    def difference(target: np.ndarray, row: np.ndarray) -> np.ndarray:
        return np.abs(row[:, 0] / np.maximum(row[:, 1], 1e-9) - target[:, 0] / np.maximum(target[:, 1], 1e-9))

    return blocks.distances(difference, sums)
