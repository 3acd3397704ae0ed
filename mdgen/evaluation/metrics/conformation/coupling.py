"""Coupling between torsions: whether they turn together as in the reference, whatever each does by itself."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.special import xlogy

from mdgen.evaluation.metrics.target import SHARE, Target, distance
from mdgen.evaluation.metrics.unit_sums import Sums, UnitSumMetrics
from mdgen.evaluation.statistics.distributions import angle_bins
from mdgen.evaluation.statistics.observables import Observables
from mdgen.molecule.torsions import Torsion
from mdgen.results import Estimate

BINS = 10
"""Bins of each torsion."""

MOST_PAIRS = 150
"""Pairs of torsions compared; where there are more, those evenly spread over residues at most `NEAR` apart."""

NEAR = 4


class CouplingMetrics(UnitSumMetrics):
    """Coupling of pairs of torsions, from joint histograms over blocks.

    The error of a mutual information grows with it, so that the one strong pair hides the loss of all weak ones; that
    of the coefficient of correlation, which goes as its root, hardly does. Few frames give a pair without coupling a
    coefficient too (0.03 at 80,000 independent frames, 0.09 at 8,000, 0.28 at 1,000), beside which weaker coupling is
    hard to see: what is lost of it then counts too little.
    """

    needs: ClassVar = ("torsions",)
    descriptions: ClassVar = {
        "coupling_error": distance(
            "Coupling error",
            "root-mean-square difference of the informational coefficient of correlation, sqrt(1 - exp(-2 I)) of the "
            "mutual information I over 10 x 10 bins, of pairs of torsions: those of different residues, and of "
            "backbone and side chain of one residue; at most 150 pairs.",
            bounds=SHARE,
        )
    }

    @classmethod
    def applies(cls, target: Target) -> bool:
        """Whether there are two torsions to compare."""
        return bool(torsion_pairs(target.torsions))

    def prepare(self) -> None:
        """The pairs that are compared."""
        self._pairs = torsion_pairs(self.torsions)

    def sums(self, data: Observables) -> Sums:
        """Joint histograms of the pairs."""
        binned = angle_bins(data["torsions"], BINS)
        tables = [data.histogram(binned[:, i] * BINS + binned[:, j], BINS**2) for i, j in self._pairs]
        return {"pairs": np.stack(tables, axis=1)}

    def distances(self, row: Sums, target: Sums) -> dict[str, Float[np.ndarray, "draw"]]:
        """`coupling_error/all`."""
        difference = informational_correlation(row["pairs"]) - informational_correlation(target["pairs"])
        return {"coupling_error/all": np.sqrt((difference**2).mean(1))}


class ConcertMetrics(UnitSumMetrics):
    """Concert of pairs of torsions: correlation of their changes from one frame to the next.

    Neighbours turn against each other while the peptide plane between them keeps its place (the crankshaft; Fadel et
    al., J. Biomol. NMR 6, 221 (1995)). Vibrations are forgotten within picoseconds, so this is known to a percent where
    the populations that mutual information rests on are known to a tenth. Rows with another frame spacing are left out.
    """

    needs: ClassVar = ("torsions",)
    descriptions: ClassVar = {
        "concert_error": distance(
            "Concert error",
            "largest difference of the coefficient of correlation of the sines of two torsions' changes from one frame "
            "to the next: pairs of phi, psi and side-chain torsions, at most 150.",
            bounds=(0.0, 2.0),
        )
    }

    @classmethod
    def applies(cls, target: Target) -> bool:
        """Whether there are two torsions to compare."""
        return bool(torsion_pairs(target.torsions, within=True))

    def prepare(self) -> None:
        """The pairs that are compared."""
        self._first, self._second = np.array(torsion_pairs(self.torsions, within=True)).T

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`concert_error/worst`."""
        return super().__call__(row) if row.frame_spacing_ps == self.target.data.frame_spacing_ps else {}

    def sums(self, data: Observables) -> Sums:
        """Squares and products of the sines of changes."""
        together = data.trajectory[1:] == data.trajectory[:-1]
        units, angles = data.units[:-1][together], data["torsions"]
        change = np.sin(np.diff(angles, axis=0)[together].astype(np.float64))

        def summed(columns: Iterable[np.ndarray]) -> np.ndarray:
            return np.stack([np.bincount(units, weights=each, minlength=data.n_units) for each in columns], axis=1)

        pairs = zip(self._first, self._second, strict=True)
        return {"squares": summed(change.T**2), "products": summed(change[:, i] * change[:, j] for i, j in pairs)}

    def distances(self, row: Sums, target: Sums) -> dict[str, Float[np.ndarray, "draw"]]:
        """`concert_error/worst`."""
        return {"concert_error/worst": np.abs(self._correlation(row) - self._correlation(target)).max(1)}

    def _correlation(self, sums: Sums) -> Float[np.ndarray, "draw pair"]:
        """The coefficients, 0 for a torsion that never moves."""
        scale = np.sqrt(sums["squares"][:, self._first] * sums["squares"][:, self._second])
        return np.divide(sums["products"], scale, out=np.zeros_like(scale), where=scale > 0)


def torsion_pairs(torsions: Sequence[Torsion], within: bool = False) -> list[tuple[int, int]]:
    """Pairs of phi, psi and side-chain torsions; those within one residue's backbone or side chain only if asked."""
    chosen = [i for i, torsion in enumerate(torsions) if torsion.kind in ("backbone", "side_chain")]
    pairs = [
        (i, j)
        for i, j in combinations(chosen, 2)
        if within or torsions[i].residue != torsions[j].residue or torsions[i].kind != torsions[j].kind
    ]
    if len(pairs) > MOST_PAIRS:
        near = [(i, j) for i, j in pairs if abs(torsions[i].residue - torsions[j].residue) <= NEAR] or pairs
        kept = np.unique(np.linspace(0, len(near) - 1, min(MOST_PAIRS, len(near))).round().astype(np.int64))
        pairs = [near[k] for k in kept]
    return pairs


def mutual_information(counts: Float[np.ndarray, "*batch cell"]) -> Float[np.ndarray, "*batch"]:
    """Mutual information in nats of joint histograms of `BINS` by `BINS` cells."""
    with np.errstate(invalid="ignore", divide="ignore"):
        joint = counts / counts.sum(-1, keepdims=True)
    table = joint.reshape(*joint.shape[:-1], BINS, BINS)
    marginals = sum(xlogy(p, p).sum(-1) for p in (table.sum(-1), table.sum(-2)))
    return np.asarray(xlogy(joint, joint).sum(-1) - marginals)


def informational_correlation(counts: Float[np.ndarray, "*batch cell"]) -> Float[np.ndarray, "*batch"]:
    """`sqrt(1 - exp(-2 I))` of the mutual information I: the correlation of two Gaussian variables that share as much.

    Linfoot, Information and Control 1, 85 (1957).
    """
    return np.asarray(np.sqrt(-np.expm1(-2 * np.maximum(mutual_information(counts), 0.0))))
