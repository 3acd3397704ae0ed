"""Energies of frames through the `Potential` seam, and the distances of their distributions."""

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.evaluation.metrics.target import JSD, Description, MetricFamily, distance
from mdgen.evaluation.statistics.block_permutation import BlockPermutation
from mdgen.evaluation.statistics.distributions import histograms, jensen_shannon, linear_bins
from mdgen.evaluation.statistics.intervals import (
    bootstrap_weights,
    centred_interval,
    percentile_interval,
    resampled,
)
from mdgen.evaluation.statistics.observables import Observables
from mdgen.interfaces import Potential
from mdgen.results import Estimate

BINS = 50


@torch.no_grad()
def energies(potential: Potential, positions: Float[Tensor, "frame atom 3"]) -> dict[str, Float[Tensor, "frame"]]:
    """`total` in kJ/mol, and the potential's own terms where it has `energy_terms`."""
    positions = positions.double()
    terms = getattr(potential, "energy_terms", None)
    if terms is None:
        return {"total": potential.energy(positions)}
    found = dict(terms(positions))
    return {"total": torch.stack(tuple(found.values())).sum(0), **found}


class EnergyMetrics(MetricFamily):
    """Energies of rows, term by term; the column `energy` is NaN at frames that were not sampled."""

    needs: ClassVar = ("energy_terms",)
    descriptions: ClassVar = {
        "energy_kJ_mol": Description("Energy (kJ/mol)", "mean energy by the force field, in all and by term."),
        "energy_jsd": distance(
            "Energy JSD", "Jensen-Shannon distance of the energies, 50 bins over the reference's range.", bounds=JSD
        ),
    }

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`energy_kJ_mol/TERM`, its mean, and `energy_jsd/TERM`, over 50 bins of the target's range."""
        result: dict[str, Estimate] = {}
        for column, term in enumerate(self.target.energy_terms):
            mine, reference = _known(row, column), _known(self.target.data, column)
            if len(mine[0]) == 0 or len(reference[0]) == 0:
                continue
            sums, counts = np.bincount(mine[1], weights=mine[0]), np.bincount(mine[1])
            rng = self.target.rng()
            weights = bootstrap_weights(len(sums), self.settings.resamples, rng)
            means = (weights @ sums) / np.maximum(weights @ counts, 1)
            result[f"energy_kJ_mol/{term}"] = percentile_interval(float(mine[0].mean()), means, len(sums))
            low, high = float(reference[0].min()), float(reference[0].max())
            expected, found = (
                histograms(linear_bins(values, low, high, BINS), units, BINS, int(units.max()) + 1)
                for values, units in (reference, mine)
            )
            value, samples = resampled(jensen_shannon, expected, found, self.settings.resamples, rng)
            result[f"energy_jsd/{term}"] = centred_interval(float(value), samples, len(sums))
        return result

    def permuted(self, blocks: BlockPermutation) -> dict[str, Float[np.ndarray, "draw"]]:
        """Scores of dynamics against itself, draw by draw."""
        found = {}
        for column, term in enumerate(self.target.energy_terms):
            values = blocks.pool["energy"][:, column].astype(np.float64)
            known, reference = np.isfinite(values), _known(self.target.data, column)[0]
            if known.any() and len(reference):
                low, high = float(reference.min()), float(reference.max())
                binned = linear_bins(np.where(known, values, low), low, high, BINS)
                binned[~known] = -1
                found[f"energy_jsd/{term}"] = blocks.distances(jensen_shannon, blocks.pool.histogram(binned, BINS))
        return found


def _known(row: Observables, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Energies that were measured, with their units numbered without gaps."""
    values = row["energy"][:, column].astype(np.float64)
    known = np.isfinite(values)
    return values[known], np.unique(row.units[known], return_inverse=True)[1]
