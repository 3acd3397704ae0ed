"""Slow coordinates: the free energy over psi_1 and the distances over the first two TICA components."""

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.observables import Observables
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.block_permutation import Deals
from mdgen.evaluation.statistics.distributions import histograms, jensen_shannon, linear_bins, sampling_floor
from mdgen.evaluation.statistics.free_energy import free_energy_rmse
from mdgen.evaluation.statistics.intervals import centred_interval, resampled, share, spread
from mdgen.results import Estimate


class CoordinateMetrics:
    """Judges rows against the slow coordinates of one target.

    Args:
        target: what rows are compared with; columns `psi` and `tica`.
        settings: bins and resamples.
    """

    def __init__(self, target: Observables, settings: Settings) -> None:
        self.target, self.settings = target, settings

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`free_energy_rmse_kT/psi_1`, `outside_share/psi_1`, `tica_jsd/0` and `tica_jsd/0,1`."""
        result: dict[str, Estimate] = {}
        if "psi" in row:
            result |= self._free_energy(row)
        if "tica" in row:
            result |= self._tica(row)
        return result

    def floor(self, frames: int, rng: np.random.Generator) -> dict[str, Estimate]:
        """What a perfect sampler of so many independent frames would score, with the spread of its luck."""
        if "tica" not in self.target:
            return {}
        return {
            name: spread(sampling_floor(counts.sum(0), frames, rng))
            for name, counts in self._tica_counts(self.target).items()
        }

    def dealt(self, deals: Deals) -> dict[str, Estimate]:
        """What dynamics scores against itself, with the spread of its luck."""
        result: dict[str, Estimate] = {}
        if "psi" in deals.pool:
            low, high = inner_range(self.target["psi"][:, 0])
            values = deals.pool["psi"][:, 0]
            counts = range_counts(values, deals.pool.units, low, high, self.settings.free_energy_bins)
            result["free_energy_rmse_kT/psi_1"] = spread(deals.distances(self._rmse, counts))
        if "tica" in deals.pool:
            for name, counts in self._tica_counts(deals.pool).items():
                result[name] = spread(deals.distances(jensen_shannon, counts))
        return result

    def _rmse(self, reference: np.ndarray, generated: np.ndarray) -> np.ndarray:
        return free_energy_rmse(reference, generated, self.settings.free_energy_below_kT)

    def _tica_counts(self, data: Observables) -> dict[str, Float[np.ndarray, "unit bin"]]:
        """Histograms over the data's own range, of the first mode and of the first two."""
        found = {}
        for number in range(1, min(2, data["tica"].shape[1]) + 1):
            along = self.settings.torsion_bins if number == 1 else self.settings.pair_bins
            flat = np.zeros(data.n_frames, dtype=np.int32)
            for mode in range(number):
                values = data["tica"][:, mode]
                flat = flat * along + linear_bins(values, float(values.min()), float(values.max()), along)
            name = f"tica_jsd/{'0' if number == 1 else '0,1'}"
            found[name] = histograms(flat, data.units, along**number, int(data.units.max()) + 1)
        return found

    def _free_energy(self, row: Observables) -> dict[str, Estimate]:
        reference, generated = self.target["psi"][:, 0], row["psi"][:, 0]
        low, high = inner_range(reference)
        bins, rng = self.settings.free_energy_bins, np.random.default_rng(self.settings.seed)
        value, samples = resampled(
            self._rmse,
            range_counts(reference, self.target.units, low, high, bins),
            range_counts(generated, row.units, low, high, bins),
            self.settings.resamples,
            rng,
        )
        outside = (generated < reference.min()) | (generated > reference.max())
        return {
            "free_energy_rmse_kT/psi_1": centred_interval(float(value), samples),
            "outside_share/psi_1": share(outside, row.units, self.settings.resamples, rng),
        }

    def _tica(self, row: Observables) -> dict[str, Estimate]:
        result = {}
        settings = self.settings
        modes = min(2, self.target["tica"].shape[1])
        for number in range(1, modes + 1):
            bins = settings.torsion_bins if number == 1 else settings.pair_bins
            flats = [np.zeros(data.n_frames, dtype=np.int32) for data in (self.target, row)]
            for mode in range(number):
                both = [self.target["tica"][:, mode], row["tica"][:, mode]]
                low, high = min(float(x.min()) for x in both), max(float(x.max()) for x in both)  # joint range
                flats = [flat * bins + linear_bins(x, low, high, bins) for flat, x in zip(flats, both, strict=True)]
            counts = [
                histograms(flat, data.units, bins**number, int(data.units.max()) + 1)
                for flat, data in zip(flats, (self.target, row), strict=True)
            ]
            rng = np.random.default_rng(settings.seed)
            value, samples = resampled(jensen_shannon, counts[0], counts[1], settings.resamples, rng)
            result[f"tica_jsd/{'0' if number == 1 else '0,1'}"] = centred_interval(float(value), samples)
        return result


def inner_range(values: Float[np.ndarray, "frame"]) -> tuple[float, float]:
    """The range that holds all but 0.1 % of the values: a few stray frames shall not widen every bin."""
    low, high = np.quantile(values, [5e-4, 1 - 5e-4])
    return float(low), float(high)


def range_counts(values: np.ndarray, units: np.ndarray, low: float, high: float, bins: int) -> np.ndarray:
    """Histograms by unit; what lies outside the range is left out."""
    binned = linear_bins(values, low, high, bins)
    binned[(values < low) | (values > high)] = -1
    return histograms(binned, units, bins, int(units.max()) + 1)
