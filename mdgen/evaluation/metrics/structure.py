"""Shares of broken, mirrored and clashing frames, and the size of the molecule, with intervals."""

from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float

from mdgen.evaluation.metrics.structure_checks import CHECKS
from mdgen.evaluation.metrics.target import SHARE, Description, distance
from mdgen.evaluation.metrics.torsion_distances import pair_histograms, ramachandran_pairs
from mdgen.evaluation.metrics.unit_sums import Sums, UnitSumMetrics
from mdgen.evaluation.statistics.intervals import frame_mean
from mdgen.evaluation.statistics.observables import Observables
from mdgen.results import Estimate

RAMACHANDRAN_BINS = 36
"""Cells of 10 degrees; those of (phi, psi) that the target visits are allowed."""

SHARES = {"broken_bonds": "broken_bond_share", "broken_angles": "broken_angle_share",
          "chirality": "chirality_error_share", "prochirality": "prochirality_error_share",
          "clashes": "clash_share"}  # fmt: skip
"""Faults of a frame, and the metric that is their share."""


class StructureMetrics(UnitSumMetrics):
    """Shares and sizes of rows, and the distances of the shares from the target's."""

    descriptions: ClassVar = {
        "broken_bond_share": Description(
            "Broken bonds", "share of frames with a bond off its ideal length by more than 0.03 nm.", bounds=SHARE
        ),
        "bond_rms_nm": Description(
            "Bond RMS (nm)", "root-mean-square deviation of bonds from the reference's mean lengths."
        ),
        "broken_angle_share": Description(
            "Broken angles", "share of frames with an angle off its ideal value by more than 30 degrees.", bounds=SHARE
        ),
        "angle_rms_deg": Description(
            "Angle RMS (°)", "root-mean-square deviation of angles from the reference's means."
        ),
        "chirality_error_share": Description(
            "Wrong chirality", "share of frames with a stereocentre of the wrong handedness.", bounds=SHARE
        ),
        "prochirality_error_share": Description(
            "Exchanged neighbours",
            "share of frames in which two like neighbours of an atom have changed places, which dynamics never does: "
            "the hydrogens of CH2 or CH3, the methyls of valine or leucine.",
            bounds=SHARE,
        ),
        "clash_share": Description(
            "Clashes",
            "share of frames in which two heavy atoms more than three bonds apart overlap: closer than the sum of "
            "their van der Waals radii less 0.04 nm.",
            bounds=SHARE,
        ),
        "closest_nm": Description(
            "Closest contact (nm)",
            "mean over frames of the smallest distance between two heavy atoms more than three bonds apart.",
        ),
        "radius_of_gyration_nm": Description("Rg (nm)", "mean radius of gyration."),
        "radius_of_gyration_sd_nm": Description("Rg sd (nm)", "standard deviation of the radius of gyration."),
        "cis_share": Description("cis omega", "share of frames with a peptide bond in cis.", bounds=SHARE),
        "ramachandran_outlier_share": distance(
            "Ramachandran outliers",
            "share of phi and psi, over frames and residues, in a cell of 10 degrees that the reference never visits.",
            bounds=SHARE,
        ),
        "share_difference": distance(
            "Share difference",
            "absolute difference from the reference of the share of frames with a broken bond, a broken angle, a wrong "
            "stereocentre, exchanged neighbours, a clash; for `cis` the largest over peptide bonds.",
            bounds=SHARE,
        ),
    }

    def prepare(self) -> None:
        """Columns of omega, and of phi and psi."""
        self.pairs = [pair for _, pair in ramachandran_pairs(self.torsions)]
        self.omega = [i for i, torsion in enumerate(self.torsions) if torsion.kind == "omega"]

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """Shares of frames, root-mean-square deviations, the radius of gyration, and distances from the target."""
        checked, columns = _checked(row)
        units, size = row.units[checked], columns["radius_of_gyration_nm"]
        shares = {SHARES[name]: values for name, values in self._faults(columns).items()}
        frames: dict[str, np.ndarray] = {**shares, "radius_of_gyration_nm": size}
        result = {name: frame_mean(values, units) for name, values in frames.items()}
        for name in ("bond_rms_nm", "angle_rms_deg"):
            result[name] = frame_mean(columns[name] ** 2, units, root=True)
        near = np.isfinite(columns["closest_nm"])
        if near.any():
            near_units = np.unique(units[near], return_inverse=True)[1]
            result["closest_nm"] = frame_mean(columns["closest_nm"][near], near_units)
        result["radius_of_gyration_sd_nm"] = frame_mean((size - size.mean()) ** 2, units, root=True)
        if self.omega:
            result["cis_share"] = frame_mean(np.asarray(self._cis(row).any(axis=1)), row.units)
        return {**result, **super().__call__(row)}

    def sums(self, data: Observables) -> Sums:
        """Numbers of frames with each fault and with each omega in cis, and counts of the cells of phi and psi."""
        checked, columns = _checked(data)
        units, number = data.units[checked], data.n_units
        faults = [np.bincount(units, weights=found, minlength=number) for found in self._faults(columns).values()]
        cis = [np.bincount(data.units, weights=column, minlength=number) for column in self._cis(data).T]
        cells = [pair_histograms(data, pair, RAMACHANDRAN_BINS) for pair in self.pairs]
        return {
            "checked": np.bincount(units, minlength=number).astype(np.float64),
            "frames": np.bincount(data.units, minlength=number).astype(np.float64),
            "faults": np.stack(faults, axis=1),
            "cis": np.stack(cis, axis=1) if cis else np.zeros((number, 0)),
            "cells": np.stack(cells, axis=1) if cells else np.zeros((number, 0, 0)),
        }

    def distances(self, row: Sums, target: Sums) -> dict[str, Float[np.ndarray, "draw"]]:
        """`share_difference/FAULT` and `ramachandran_outlier_share`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            faults, cis = (
                np.abs(row[name] / row[count][:, None] - target[name] / target[count][:, None])
                for name, count in (("faults", "checked"), ("cis", "frames"))
            )
            found = {f"share_difference/{name}": faults[:, i] for i, name in enumerate(SHARES)}
            if self.omega:
                found["share_difference/cis"] = cis.max(1)
            if self.pairs:
                outside = (row["cells"] * (target["cells"] == 0)).sum((1, 2))
                found["ramachandran_outlier_share"] = outside / row["cells"].sum((1, 2))
        return found

    def _faults(self, columns: dict[str, np.ndarray]) -> dict[str, Bool[np.ndarray, "frame"]]:
        """Whether each checked frame has each of the faults that `SHARES` names."""
        return {
            "broken_bonds": columns["bond_max_nm"] > self.settings.broken_bond_nm,
            "broken_angles": columns["angle_max_deg"] > self.settings.broken_angle_deg,
            "chirality": columns["chirality_errors"] > 0,
            "prochirality": columns["prochirality_errors"] > 0,
            "clashes": columns["clashes"] > 0,
        }

    def _cis(self, row: Observables) -> Bool[np.ndarray, "frame omega"]:
        return np.asarray(np.abs(row["torsions"][:, self.omega]) < np.pi / 2)


def _checked(row: Observables) -> tuple[Bool[np.ndarray, "frame"], dict[str, np.ndarray]]:
    """Which frames were checked, and their columns by name."""
    checked = np.isfinite(row["structure"][:, CHECKS.index("bond_max_nm")])
    table = row["structure"][checked].astype(np.float64)
    return checked, {name: table[:, i] for i, name in enumerate(CHECKS)}
