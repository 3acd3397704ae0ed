"""Distances between the torsion distributions of two sets of trajectories, one number a torsion, a pair and a kind."""

from collections.abc import Callable, Sequence

import numpy as np

from mdgen.evaluation.metrics.observables import Observables
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.block_permutation import Deals
from mdgen.evaluation.statistics.distributions import angle_bins, histograms, jensen_shannon, sampling_floor
from mdgen.evaluation.statistics.free_energy import free_energy_rmse
from mdgen.evaluation.statistics.intervals import centred_interval, resampled, spread
from mdgen.molecule.torsions import Torsion
from mdgen.results import Estimate

GROUPS = {
    "all": ("backbone", "omega", "side_chain"),
    "backbone": ("backbone",),
    "omega": ("omega",),
    "side_chain": ("side_chain",),
    "methyl": ("methyl",),
}
"""Kinds of torsion averaged together. Methyl rotors, alike but for the names of their hydrogens, stay out of `all`."""


class TorsionMetrics:
    """Judges rows against the torsions of one target.

    Args:
        target: what rows are compared with.
        torsions: in the order of the `torsions` column.
        settings: bins and resamples.
    """

    def __init__(self, target: Observables, torsions: Sequence[Torsion], settings: Settings) -> None:
        self.torsions, self.settings = torsions, settings
        self.pairs = ramachandran_pairs(torsions)
        self._single = self._single_histograms(target)
        self._pair = [pair_histograms(target, pair, settings.pair_bins) for _, pair in self.pairs]
        self._landscape = [pair_histograms(target, pair, settings.free_energy_pair_bins) for _, pair in self.pairs]

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`torsion_jsd/NAME`, `torsion_jsd/GROUP`, `torsion_pair_jsd/RESIDUE` and `free_energy_rmse_kT/phi_psi`."""
        if not self.torsions:
            return {}
        return {**self._distances(row), **self._pairs(row)}

    def floor(self, frames: int, rng: np.random.Generator) -> dict[str, Estimate]:
        """What a perfect sampler of so many independent frames would score, with the spread of its luck."""
        if not self.torsions:
            return {}
        drawn = [sampling_floor(counts, frames, rng) for counts in self._single.sum(0)]
        result = {
            f"torsion_jsd/{group}": spread(np.mean([drawn[i] for i in members], axis=0))
            for group, kinds in GROUPS.items()
            if (members := [i for i, torsion in enumerate(self.torsions) if torsion.kind in kinds])
        }
        result |= {f"torsion_jsd/{torsion.name}": spread(drawn[i]) for i, torsion in enumerate(self.torsions)}
        pairs = [sampling_floor(counts.sum(0), frames, rng) for counts in self._pair]
        result |= {f"torsion_pair_jsd/{name}": spread(d) for (name, _), d in zip(self.pairs, pairs, strict=True)}
        if pairs:
            result["torsion_pair_jsd/all"] = spread(np.mean(pairs, axis=0))
        return result

    def dealt(self, deals: Deals) -> dict[str, Estimate]:
        """What dynamics scores against itself, with the spread of its luck."""
        if not self.torsions:
            return {}
        drawn = deals.distances(jensen_shannon, self._single_histograms(deals.pool))
        result = {
            f"torsion_jsd/{group}": spread(drawn[:, members].mean(1))
            for group, kinds in GROUPS.items()
            if (members := [i for i, torsion in enumerate(self.torsions) if torsion.kind in kinds])
        }
        result |= {f"torsion_jsd/{torsion.name}": spread(drawn[:, i]) for i, torsion in enumerate(self.torsions)}
        for name, bins, metric in self._pair_metrics():
            found = [deals.distances(metric, pair_histograms(deals.pool, pair, bins)) for _, pair in self.pairs]
            if found:
                result[_pair_name(name, "")] = spread(np.mean(found, axis=0))
            result |= {_pair_name(name, self.pairs[i][0]): spread(values) for i, values in enumerate(found)}
        return result

    def _distances(self, row: Observables) -> dict[str, Estimate]:
        rng = np.random.default_rng(self.settings.seed)
        values, samples = resampled(
            jensen_shannon, self._single, self._single_histograms(row), self.settings.resamples, rng
        )
        result = {}
        for group, kinds in GROUPS.items():
            members = [i for i, torsion in enumerate(self.torsions) if torsion.kind in kinds]
            if members:
                result[f"torsion_jsd/{group}"] = centred_interval(values[members].mean(), samples[:, members].mean(1))
        for i, torsion in enumerate(self.torsions):
            result[f"torsion_jsd/{torsion.name}"] = centred_interval(values[i], samples[:, i])
        return result

    def _pairs(self, row: Observables) -> dict[str, Estimate]:
        result: dict[str, Estimate] = {}
        for (name, bins, metric), references in zip(self._pair_metrics(), (self._pair, self._landscape), strict=True):
            rng = np.random.default_rng(self.settings.seed)
            found = [
                resampled(metric, reference, pair_histograms(row, pair, bins), self.settings.resamples, rng)
                for (_, pair), reference in zip(self.pairs, references, strict=True)
            ]
            if not found:
                continue
            mean, samples = np.mean([v for v, _ in found]), np.mean([s for _, s in found], axis=0)
            result[_pair_name(name, "")] = centred_interval(float(mean), samples)
            for (residue, _), (value, drawn) in zip(self.pairs, found, strict=True):
                result[_pair_name(name, residue)] = centred_interval(float(value), drawn)
        return result

    def _pair_metrics(self) -> tuple[tuple[str, int, Callable[[np.ndarray, np.ndarray], np.ndarray]], ...]:
        """Name, bins along each axis and metric of what is measured on phi and psi together."""
        return (
            ("torsion_pair_jsd", self.settings.pair_bins, jensen_shannon),
            ("free_energy_rmse_kT/phi_psi", self.settings.free_energy_pair_bins, self._rmse),
        )

    def _rmse(self, reference: np.ndarray, generated: np.ndarray) -> np.ndarray:
        return free_energy_rmse(reference, generated, self.settings.free_energy_below_kT)

    def _single_histograms(self, row: Observables) -> np.ndarray:
        units, bins = row.units, self.settings.torsion_bins
        return np.stack(
            [
                histograms(angle_bins(row["torsions"][:, i], bins), units, bins, int(units.max()) + 1)
                for i in range(len(self.torsions))
            ]
            or [np.zeros((int(units.max()) + 1, bins))],
            axis=1,
        )


def _pair_name(name: str, residue: str) -> str:
    """The metric of one residue's pair, or of the mean over residues where none is named."""
    if "/" in name:
        return f"{name} {residue}".rstrip()
    return f"{name}/{residue or 'all'}"


def ramachandran_pairs(torsions: Sequence[Torsion]) -> list[tuple[str, tuple[int, int]]]:
    """Residues that have both phi and psi: a label and the columns of the two."""
    pairs = []
    for column, torsion in enumerate(torsions):
        if torsion.name.startswith("phi "):
            label = torsion.name.removeprefix("phi ")
            partner = [i for i, other in enumerate(torsions) if other.name == f"psi {label}"]
            pairs += [(label, (column, other)) for other in partner]
    return pairs


def pair_histograms(row: Observables, pair: tuple[int, int], bins: int) -> np.ndarray:
    """Counts of two torsions, bins flattened row by row, in each bootstrap unit."""
    units = row.units
    first, second = (angle_bins(row["torsions"][:, column], bins) for column in pair)
    flat = first * bins + second
    return histograms(flat, units, bins * bins, int(units.max()) + 1)
