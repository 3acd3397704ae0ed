"""Each bond, angle and plane: its mean and spread against the reference's."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.target import distance
from mdgen.evaluation.metrics.unit_sums import Sums, UnitSumMetrics, mean_and_spread, mean_and_worst
from mdgen.evaluation.statistics.observables import Observables


class BondedMetrics(UnitSumMetrics):
    """Wasserstein distance of each column of a table, taken as Gaussian: `sqrt((m - m')^2 + (s - s')^2)`.

    Too long, too short, too rigid and too loose all count. The Gaussian form needs two sums a block.
    """

    metric: ClassVar[str]

    def sums(self, data: Observables) -> Sums:
        """Number of frames, sums and sums of squares."""
        first, second = np.split(data.table_sums(self.tables[0], lambda x: np.hstack([x, x**2])), 2, axis=1)
        return {"count": data.sampled_counts(), "first": first, "second": second}

    def distances(self, row: Sums, target: Sums) -> dict[str, Float[np.ndarray, "draw"]]:
        """`METRIC/all`, the mean over columns, and `METRIC/worst`, the largest."""
        (mean, spread), (expected, expected_spread) = (
            mean_and_spread(sums["count"], sums["first"], sums["second"]) for sums in (row, target)
        )
        each = np.hypot(mean - expected, spread - expected_spread)
        return mean_and_worst(self.metric, each)


class BondMetrics(BondedMetrics):
    """Bond lengths, those to hydrogens included."""

    metric, tables = "bond_w2_nm", ("bonds",)
    descriptions: ClassVar = {
        "bond_w2_nm": distance(
            "Bond W2 (nm)",
            "difference of the mean and of the standard deviation of a bond's length, as the root of the sum of "
            "their squares; `all` is the mean over bonds, hydrogens included, `worst` the largest.",
        )
    }


class AngleMetrics(BondedMetrics):
    """Bond angles."""

    metric, tables = "angle_w2_deg", ("angles",)
    descriptions: ClassVar = {"angle_w2_deg": distance("Angle W2 (°)", "the same of bond angles.")}


class PlanarityMetrics(BondedMetrics):
    """Planes of an atom and its three neighbours."""

    metric, tables = "planarity_w2_deg", ("planes",)
    descriptions: ClassVar = {
        "planarity_w2_deg": distance(
            "Planarity W2 (°)", "the same of the angle by which an atom's three neighbours lie out of a plane with it."
        )
    }
