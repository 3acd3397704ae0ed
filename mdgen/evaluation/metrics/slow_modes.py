"""Slow coordinates: the free energy over each and the distances over the first two TICA components."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.target import JSD, SHARE, MetricFamily, Target, distance
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.block_permutation import BlockPermutation
from mdgen.evaluation.statistics.distributions import jensen_shannon, linear_bins, sampling_floor
from mdgen.evaluation.statistics.intervals import centred_interval, frame_mean, resampled, spread
from mdgen.evaluation.statistics.observables import Observables
from mdgen.results import Estimate


class SlowModeMetrics(MetricFamily):
    """Distances of distributions over the slow coordinates: the columns `psi` and `tica`, where there are such."""

    descriptions: ClassVar = {
        "tica_jsd": distance(
            "TICA JSD",
            "Jensen-Shannon distance over the slowest linear coordinates, 100 bins of the first or 50 x 50 of two, "
            "over the joint range.",
            bounds=JSD,
        ),
        "outside_share": distance(
            "Outside", "share of frames beyond the reference's range of the coordinate.", bounds=SHARE
        ),
    }

    @classmethod
    def applies(cls, target: Target) -> bool:
        """With a slow coordinate."""
        return "psi" in target.data or "tica" in target.data

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`free_energy_rmse_kT/psi_1`, `outside_share/psi_1` and so on, `tica_jsd/0` and `tica_jsd/0,1`."""
        result: dict[str, Estimate] = {}
        for mode in range(row["psi"].shape[1] if "psi" in row else 0):
            result |= self._free_energy(row, mode)
        if "tica" in row:
            counts = [tica_histograms(data, [self.target.data, row], self.settings) for data in (self.target.data, row)]
            for name, reference in counts[0].items():
                value, samples = resampled(
                    jensen_shannon, reference, counts[1][name], self.settings.resamples, self.target.rng()
                )
                result[name] = centred_interval(float(value), samples, row.n_units)
        return result

    def floor(self, frames: int, rng: np.random.Generator) -> dict[str, Estimate]:
        """Floor of the TICA distances."""
        if "tica" not in self.target.data:
            return {}
        found = tica_histograms(self.target.data, [self.target.data], self.settings)
        return {name: spread(sampling_floor(counts.sum(0), frames, rng)) for name, counts in found.items()}

    def permuted(self, blocks: BlockPermutation) -> dict[str, Float[np.ndarray, "draw"]]:
        """Scores of dynamics against itself, draw by draw."""
        result: dict[str, np.ndarray] = {}
        for mode in range(blocks.pool["psi"].shape[1] if "psi" in blocks.pool else 0):
            low, high = inner_range(self.target.data["psi"][:, mode])
            counts = range_histogram(blocks.pool, low, high, self.settings.free_energy_bins, mode)
            name = f"free_energy_rmse_kT/psi_{mode + 1}"
            result[name] = blocks.distances(self.target.free_energy_rmse, counts)
        if "tica" in blocks.pool:
            for name, counts in tica_histograms(blocks.pool, [blocks.pool], self.settings).items():
                result[name] = blocks.distances(jensen_shannon, counts)
        return result

    def _free_energy(self, row: Observables, mode: int) -> dict[str, Estimate]:
        reference, generated = self.target.data["psi"][:, mode], row["psi"][:, mode]
        low, high = inner_range(reference)
        bins, rng = self.settings.free_energy_bins, self.target.rng()
        expected, counts = (range_histogram(data, low, high, bins, mode) for data in (self.target.data, row))
        value, samples = resampled(self.target.free_energy_rmse, expected, counts, self.settings.resamples, rng)
        outside = (generated < reference.min()) | (generated > reference.max())
        return {
            f"free_energy_rmse_kT/psi_{mode + 1}": centred_interval(float(value), samples, row.n_units),
            f"outside_share/psi_{mode + 1}": frame_mean(outside, row.units),
        }


def tica_histograms(
    data: Observables, ranged: Sequence[Observables], settings: Settings
) -> dict[str, Float[np.ndarray, "unit bin"]]:
    """Histograms of the first TICA mode and of the first two, by metric, over the range of all of `ranged`."""
    found = {}
    for name, bins, modes in (("tica_jsd/0", settings.torsion_bins, 1), ("tica_jsd/0,1", settings.pair_bins, 2)):
        if modes > data["tica"].shape[1]:
            continue
        flat = np.zeros(data.n_frames, dtype=np.int32)
        for mode in range(modes):
            values = [each["tica"][:, mode] for each in ranged]
            low, high = min(float(x.min()) for x in values), max(float(x.max()) for x in values)
            flat = flat * bins + linear_bins(data["tica"][:, mode], low, high, bins)
        found[name] = data.histogram(flat, bins**modes)
    return found


def inner_range(values: Float[np.ndarray, "frame"]) -> tuple[float, float]:
    """The range that holds all but 0.1 % of the values, so that outliers do not widen the bins."""
    low, high = np.quantile(values, [5e-4, 1 - 5e-4])
    return float(low), float(high)


def range_histogram(
    data: Observables, low: float, high: float, bins: int, mode: int = 0
) -> Float[np.ndarray, "unit bin"]:
    """Histograms of a slow coordinate by bootstrap unit; values outside the range are left out."""
    values = data["psi"][:, mode]
    binned = linear_bins(values, low, high, bins)
    binned[(values < low) | (values > high)] = -1
    return data.histogram(binned, bins)
