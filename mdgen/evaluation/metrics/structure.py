"""Shares of broken, mirrored and clashing frames, and the size of the molecule, with intervals."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.structure_checks import CHECKS
from mdgen.evaluation.metrics.target import Description, MetricFamily, Target, distance
from mdgen.evaluation.metrics.torsion_distances import pair_bins, ramachandran_pairs
from mdgen.evaluation.statistics.block_permutation import BlockPermutation
from mdgen.evaluation.statistics.intervals import estimates, frame_mean
from mdgen.evaluation.statistics.observables import Observables
from mdgen.results import Estimate

SHARES = {"broken_bond_share": "broken_bonds", "broken_angle_share": "broken_angles", "clash_share": "clashes",
          "chirality_error_share": "chirality", "cis_share": "cis"}  # fmt: skip
"""Shares of frames of which there are differences from the target, and the name of the fault."""

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
        "share_difference": distance(
            "Share difference",
            "absolute difference from the reference of the share of frames with a broken bond, a broken angle, a wrong "
            "stereocentre, a clash, or a peptide bond in cis.",
        ),
    }

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.pairs = [pair for _, pair in ramachandran_pairs(target.torsions)]
        bins = RAMACHANDRAN_BINS
        self._visits = [np.bincount(pair_bins(target.data, pair, bins), minlength=bins**2) for pair in self.pairs]

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """Shares of frames, root-mean-square deviations, the radius of gyration, and differences of the shares."""
        checked, columns = _checked(row)
        units, size = row.units[checked], columns["radius_of_gyration_nm"]
        result = {name: frame_mean(values, units) for name, values in self._faults(columns).items()}
        result["radius_of_gyration_nm"] = frame_mean(size, units)
        for name in ("bond_rms_nm", "angle_rms_deg"):
            result[name] = frame_mean(columns[name] ** 2, units, root=True)
        near = np.isfinite(columns["closest_nm"])
        if near.any():
            near_units = np.unique(units[near], return_inverse=True)[1]
            result["closest_nm"] = frame_mean(columns["closest_nm"][near], near_units)
        result["radius_of_gyration_sd_nm"] = frame_mean((size - size.mean()) ** 2, units, root=True)
        result |= {name: frame_mean(values, row.units) for name, values in self._torsion_faults(row).items()}
        mine, theirs = (self._resampled_shares(data) for data in (row, self.target.data))
        differences = {f"share_difference/{SHARES[name]}": np.abs(mine[name] - theirs[name]) for name in mine}
        return result | estimates(differences, units=row.n_units)

    def permuted(self, blocks: BlockPermutation) -> dict[str, Float[np.ndarray, "draw"]]:
        """Absolute differences of the shares, draw by draw."""
        mine, theirs = (self._shares(blocks.pool, weights) for weights in (blocks.row, blocks.target))
        return {f"share_difference/{SHARES[name]}": np.abs(mine[name] - theirs[name]) for name in mine}

    def _resampled_shares(self, data: Observables) -> dict[str, Float[np.ndarray, "resample"]]:
        return self._shares(data, self.target.data_and_resamples(data.n_units))

    def _shares(
        self, data: Observables, weights: Float[np.ndarray, "draw unit"]
    ) -> dict[str, Float[np.ndarray, "draw"]]:
        """Shares of faulty frames with the units weighted."""
        checked, columns = _checked(data)
        found = {name: (values, data.units[checked]) for name, values in self._faults(columns).items()}
        torsion_faults = self._torsion_faults(data)
        torsion_faults.pop("ramachandran_outlier_share", None)
        found |= {name: (values, data.units) for name, values in torsion_faults.items()}
        sums = {
            name: [weights @ np.bincount(units, w, minlength=weights.shape[1]) for w in (values, np.ones(len(units)))]
            for name, (values, units) in found.items()
        }
        return {name: faults / np.maximum(frames, 1e-9) for name, (faults, frames) in sums.items()}

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


def _checked(row: Observables) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Which frames were checked, and their columns by name."""
    checked = np.isfinite(row["structure"][:, CHECKS.index("bond_max_nm")])
    table = row["structure"][checked].astype(np.float64)
    return checked, {name: table[:, i] for i, name in enumerate(CHECKS)}
