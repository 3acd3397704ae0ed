"""Energies of a force field, reached through the `Potential` seam, of a sample of the frames."""

import numpy as np

from mdgen.evaluation.metrics.observables import Observables
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.block_permutation import Deals
from mdgen.evaluation.statistics.distributions import histograms, jensen_shannon, linear_bins
from mdgen.evaluation.statistics.intervals import (
    bootstrap_weights,
    centred_interval,
    percentile_interval,
    resampled,
    spread,
)
from mdgen.results import Estimate

BINS = 50


class EnergyMetrics:
    """Judges the energies of rows, term by term; the column `energy` is NaN at frames that were not sampled.

    Args:
        target: what rows are compared with.
        terms: names of the energy's columns.
        settings: resamples and seed.
    """

    def __init__(self, target: Observables, terms: tuple[str, ...], settings: Settings) -> None:
        self.terms, self.settings = terms, settings
        self.target = target

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`energy_kJ_mol/TERM`, its mean, and `energy_jsd/TERM`, over 50 bins of the target's range."""
        result: dict[str, Estimate] = {}
        if "energy" not in row:
            return result
        for column, term in enumerate(self.terms):
            mine, units = _known(row, column)
            reference, reference_units = _known(self.target, column)
            if len(mine) == 0 or len(reference) == 0:
                continue
            sums, counts = np.bincount(units, weights=mine), np.bincount(units)
            rng = np.random.default_rng(self.settings.seed)
            weights = bootstrap_weights(len(sums), self.settings.resamples, rng)
            means = (weights @ sums) / np.maximum(weights @ counts, 1)
            result[f"energy_kJ_mol/{term}"] = percentile_interval(float(mine.mean()), means)
            low, high = float(reference.min()), float(reference.max())
            value, samples = resampled(
                jensen_shannon,
                histograms(
                    linear_bins(reference, low, high, BINS), reference_units, BINS, int(reference_units.max()) + 1
                ),
                histograms(linear_bins(mine, low, high, BINS), units, BINS, int(units.max()) + 1),
                self.settings.resamples,
                rng,
            )
            result[f"energy_jsd/{term}"] = centred_interval(float(value), samples)
        return result

    def dealt(self, deals: Deals) -> dict[str, Estimate]:
        """What dynamics scores against itself, with the spread of its luck."""
        result: dict[str, Estimate] = {}
        if "energy" not in deals.pool:
            return result
        for column, term in enumerate(self.terms):
            values = deals.pool["energy"][:, column].astype(np.float64)
            known = np.isfinite(values)
            if not known.any():
                continue
            low, high = float(values[known].min()), float(values[known].max())
            binned = linear_bins(np.where(known, values, low), low, high, BINS)
            binned[~known] = -1
            counts = histograms(binned, deals.pool.units, BINS, deals.row.shape[1])
            distances = deals.distances(jensen_shannon, counts)
            if np.isfinite(distances).any():
                result[f"energy_jsd/{term}"] = spread(distances)
        return result


def _known(row: Observables, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Energies that were measured, with their units numbered without gaps."""
    values = row["energy"][:, column].astype(np.float64)
    known = np.isfinite(values)
    return values[known], np.unique(row.units[known], return_inverse=True)[1]
