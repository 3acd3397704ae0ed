"""Each bond, angle and plane: its mean and spread against the reference's."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.target import Target, distance
from mdgen.evaluation.metrics.unit_sums import Sums, UnitSumMetrics, mean_and_spread
from mdgen.evaluation.statistics.observables import Observables

TABLES = {"bond_w2_nm": "bonds", "angle_w2_deg": "angles", "planarity_w2_deg": "planes"}
"""Table of each metric."""


class BondedMetrics(UnitSumMetrics):
    """Wasserstein distance of each bond, angle and plane, taken as Gaussian: `sqrt((m - m')^2 + (s - s')^2)`.

    Lengths that are too long, too short, too rigid and too loose all count. The Gaussian form needs two sums a block.
    """

    descriptions: ClassVar = {
        "bond_w2_nm": distance(
            "Bond W2 (nm)",
            "difference of the mean and of the standard deviation of a bond's length, as the root of the sum of "
            "their squares; `all` is the mean over bonds, hydrogens included, `worst` the largest.",
        ),
        "angle_w2_deg": distance("Angle W2 (°)", "the same of bond angles."),
        "planarity_w2_deg": distance(
            "Planarity W2 (°)",
            "the same of the angle by which the neighbours of an atom that has three lie out of a plane.",
        ),
    }

    @classmethod
    def applies(cls, target: Target) -> bool:
        """Whether degrees of freedom were measured."""
        return "sampled" in target.data

    def sums(self, data: Observables) -> Sums:
        """Number of frames, and sums and sums of squares of every table."""
        found: Sums = {"count": data.sampled_counts()}
        for name, table in TABLES.items():
            found[f"{name} 1"] = data.table_sums(table, lambda x: x)
            found[f"{name} 2"] = data.table_sums(table, np.square)
        return found

    def distances(self, row: Sums, target: Sums) -> dict[str, Float[np.ndarray, "draw"]]:
        """`METRIC/all` and `METRIC/worst` for each table that has columns."""
        found = {}
        for name in TABLES:
            if row[f"{name} 1"].shape[1]:
                each = self._each(name, row, target)
                found |= {f"{name}/all": each.mean(1), f"{name}/worst": each.max(1)}
        return found

    def _each(self, name: str, row: Sums, target: Sums) -> Float[np.ndarray, "draw column"]:
        (mean, spread), (expected, expected_spread) = (
            mean_and_spread(sums["count"], sums[f"{name} 1"], sums[f"{name} 2"]) for sums in (row, target)
        )
        return np.hypot(mean - expected, spread - expected_spread)
