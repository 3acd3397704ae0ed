"""Distances between the torsion distributions of two sets of trajectories: by torsion, by residue and by kind."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.target import JSD, SHARE, MetricFamily, Target, distance
from mdgen.evaluation.metrics.unit_sums import Sums, UnitSumMetrics
from mdgen.evaluation.statistics.block_permutation import BlockPermutation
from mdgen.evaluation.statistics.distributions import angle_bins, jensen_shannon, sampling_floor
from mdgen.evaluation.statistics.intervals import estimates, resampled, spreads
from mdgen.evaluation.statistics.observables import Observables
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

MAIN_KINDS, SECTORS = ("backbone", "side_chain"), 12
"""Kinds and bins of the total variation."""


class TorsionMetrics(MetricFamily):
    """Distances of the distributions of single torsions, and of phi and psi of each residue."""

    needs: ClassVar = ("torsions",)
    descriptions: ClassVar = {
        "torsion_jsd": distance(
            "Torsion JSD",
            "Jensen-Shannon distance of a torsion's histogram, 100 bins of [-pi, pi]; the mean over torsions for "
            "`all`, `backbone`, `omega`, `side_chain` and `methyl`. 0 to 0.8326.",
            bounds=JSD,
        ),
        "torsion_pair_jsd": distance(
            "phi, psi JSD",
            "the same over 50 x 50 bins of phi and psi of a residue; `worst` is the largest over residues.",
            bounds=JSD,
        ),
        "free_energy_rmse_kT": distance(
            "F RMSE (kT)",
            "root-mean-square difference of free energies where the reference's is below 5 kT, after alignment: over "
            "each slow coordinate, `psi_1` and so on, or over phi and psi in cells of 10 degrees. An empty bin counts "
            "as half a frame, which bounds the value for rows of few frames.",
        ),
    }

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.pairs = ramachandran_pairs(target.torsions)
        self.groups = {
            group: members
            for group, kinds in GROUPS.items()
            if (members := [i for i, torsion in enumerate(self.torsions) if torsion.kind in kinds])
        }

    @cached_property
    def _single(self) -> np.ndarray:
        return self._single_histograms(self.target.data)

    @cached_property
    def _pairs(self) -> list[list[np.ndarray]]:
        data = self.target.data
        return [[pair_histograms(data, pair, bins) for _, pair in self.pairs] for _, bins, _ in self._pair_metrics()]

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`torsion_jsd/NAME`, `torsion_jsd/GROUP`, `torsion_pair_jsd/RESIDUE` and `free_energy_rmse_kT/phi_psi`."""
        values, samples = resampled(
            jensen_shannon, self._single, self._single_histograms(row), self.settings.resamples, self.target.rng()
        )
        found, resamples = self._named(values), self._named(samples)
        for (name, bins, metric), references in zip(self._pair_metrics(), self._pairs, strict=True):
            rng = self.target.rng()
            drawn = [
                resampled(metric, reference, pair_histograms(row, pair, bins), self.settings.resamples, rng)
                for (_, pair), reference in zip(self.pairs, references, strict=True)
            ]
            found |= self._named_pairs(name, [value for value, _ in drawn])
            resamples |= self._named_pairs(name, [values for _, values in drawn])
        drawn_of = {name: np.r_[value, resamples[name]] for name, value in found.items()}
        return estimates(drawn_of, units=row.n_units)

    def floor(self, frames: int, rng: np.random.Generator) -> dict[str, Estimate]:
        """Scores of a perfect sampler of so many independent frames, with the spread over draws."""
        drawn = [sampling_floor(counts, frames, rng) for counts in self._single.sum(0)]
        pairs = [sampling_floor(counts.sum(0), frames, rng) for counts in self._pairs[0]]
        return spreads({**self._named(np.stack(drawn, axis=1)), **self._named_pairs("torsion_pair_jsd/all", pairs)})

    def permuted(self, blocks: BlockPermutation) -> dict[str, Float[np.ndarray, "draw"]]:
        """Scores of dynamics against itself, draw by draw."""
        found = self._named(blocks.distances(jensen_shannon, self._single_histograms(blocks.pool)))
        for name, bins, metric in self._pair_metrics():
            drawn = [blocks.distances(metric, pair_histograms(blocks.pool, pair, bins)) for _, pair in self.pairs]
            found |= self._named_pairs(name, drawn)
        return found

    def _named(self, distances: np.ndarray) -> dict[str, Any]:
        """Distances, torsions on the last axis, by group and by torsion."""
        found = {f"torsion_jsd/{group}": distances[..., members].mean(-1) for group, members in self.groups.items()}
        return found | {f"torsion_jsd/{torsion.name}": distances[..., i] for i, torsion in enumerate(self.torsions)}

    def _named_pairs(self, name: str, distances: list[Any]) -> dict[str, Any]:
        """Distances of each residue's pair, with the mean over residues, `KIND/all` or `KIND/phi_psi`, and `worst`."""
        if not distances:
            return {}
        each = zip(self.pairs, distances, strict=True)
        named = {f"{name} {residue}".replace("/all ", "/"): values for (residue, _), values in each}
        if name.endswith("/all"):
            named[name.replace("/all", "/worst")] = np.max(distances, axis=0)
        return {name: np.mean(distances, axis=0), **named}

    def _pair_metrics(self) -> tuple[tuple[str, int, Callable[[np.ndarray, np.ndarray], np.ndarray]], ...]:
        """Name, bins along each axis and metric of what is measured on phi and psi together."""
        return (
            ("torsion_pair_jsd/all", self.settings.pair_bins, jensen_shannon),
            ("free_energy_rmse_kT/phi_psi", self.settings.free_energy_pair_bins, self.target.free_energy_rmse),
        )

    def _single_histograms(self, row: Observables) -> np.ndarray:
        bins = self.settings.torsion_bins
        columns = (angle_bins(row["torsions"][:, i], bins) for i in range(len(self.torsions)))
        return np.stack([row.histogram(column, bins) for column in columns], axis=1)


class VariationMetrics(UnitSumMetrics):
    """Total variation of single torsions: the share of frames that would have to be elsewhere.

    A Jensen-Shannon distance counts what is rare for more, and what is rare and slow is what chance moves most: beside
    it a well of half of the frames with a quarter more of them passes for chance.
    """

    needs: ClassVar = ("torsions",)
    descriptions: ClassVar = {
        "torsion_variation": distance(
            "Torsion variation",
            "total variation distance of a torsion's histogram, 12 bins of [-pi, pi]: the share of frames that would "
            "have to be elsewhere; the largest over phi, psi and side-chain torsions.",
            bounds=SHARE,
        )
    }

    @classmethod
    def applies(cls, target: Target) -> bool:
        """Whether there are such torsions."""
        return any(torsion.kind in MAIN_KINDS for torsion in target.torsions)

    def sums(self, data: Observables) -> Sums:
        """Histograms."""
        chosen = [i for i, torsion in enumerate(self.torsions) if torsion.kind in MAIN_KINDS]
        bins = angle_bins(data["torsions"][:, chosen], SECTORS)
        return {"counts": np.stack([data.histogram(column, SECTORS) for column in bins.T], axis=1)}

    def distances(self, row: Sums, target: Sums) -> dict[str, Float[np.ndarray, "draw"]]:
        """`torsion_variation/worst`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            here, there = (sums["counts"] / sums["counts"].sum(-1, keepdims=True) for sums in (row, target))
        return {"torsion_variation/worst": np.abs(here - there).sum(-1).max(1) / 2}


def ramachandran_pairs(torsions: Sequence[Torsion]) -> list[tuple[str, tuple[int, int]]]:
    """Residues that have both phi and psi: a label and the columns of the two."""
    pairs = []
    for column, torsion in enumerate(torsions):
        if torsion.name.startswith("phi "):
            label = torsion.name.removeprefix("phi ")
            partner = [i for i, other in enumerate(torsions) if other.name == f"psi {label}"]
            pairs += [(label, (column, other)) for other in partner]
    return pairs


def pair_bins(row: Observables, pair: tuple[int, int], bins: int) -> np.ndarray:
    """The cell of two torsions in which each frame lies, cells numbered row by row."""
    first, second = (angle_bins(row["torsions"][:, column], bins) for column in pair)
    return first * bins + second


def pair_histograms(row: Observables, pair: tuple[int, int], bins: int) -> np.ndarray:
    """Counts of the cells of two torsions in each bootstrap unit."""
    return row.histogram(pair_bins(row, pair, bins), bins * bins)
