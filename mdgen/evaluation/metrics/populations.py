"""Populations of conformers: basins of each residue's phi and psi, and rotamers of each side-chain torsion."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float

from mdgen.evaluation.metrics.target import Target, distance
from mdgen.evaluation.metrics.torsion_distances import ramachandran_pairs
from mdgen.evaluation.metrics.unit_sums import Sums, UnitSumMetrics, weighted
from mdgen.evaluation.statistics.block_permutation import BlockPermutation
from mdgen.evaluation.statistics.observables import Observables

EXTENDED_PHI_DEG = -100.0
"""Phi below which an extended residue is in a strand, and above which it is in the helix of polyproline (PII)."""

HELICAL_PSI_DEG = (-120.0, 50.0)
"""Range of psi of helical residues; others are extended."""

ROTAMERS = 3
"""Sectors of a side-chain torsion: gauche+, trans and gauche-."""

Membership = Float[np.ndarray, "frame"]


class PopulationMetrics(UnitSumMetrics):
    """Cohen's h of the conformer that differs most beside its error.

    Cohen's h, `2 asin sqrt(p) - 2 asin sqrt(q)`, is the difference of two shares on the scale on which their variance
    does not depend on them (Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, ch. 6): rare states
    and common ones compare. Slow states are known far less well than fast ones, so that the largest h is that of the
    slowest; here each is divided by its standard error over blocks first, as in a studentised maximum (Westfall and
    Young, 1993). A permutation has errors of its own; resamples of the same two sides keep those of the first draw.
    The value is h of the first draw's conformer, and others' scores are in its unit.
    """

    needs: ClassVar = ("torsions",)
    descriptions: ClassVar = {
        "population_error": distance(
            "Population error",
            "Cohen's h, |2 asin sqrt(p) - 2 asin sqrt(q)|, of the shares p and q of frames in a conformer; of the "
            "conformer whose h is the largest beside its standard error over blocks. `backbone`: strand, PII, helical "
            "and bridging basins of phi < 0, of each residue and on average; `left_handed`: phi > 0, the same; "
            "`side_chain`: thirds of the circle of each side-chain torsion. 0.05 is 0.1 kT of a state of one half.",
            bounds=(0.0, float(np.pi)),
        )
    }

    @classmethod
    def applies(cls, target: Target) -> bool:
        """Whether there is a residue with phi and psi, or a side chain."""
        side_chains = any(torsion.kind == "side_chain" for torsion in target.torsions)
        return side_chains or bool(ramachandran_pairs(target.torsions))

    def sums(self, data: Observables) -> Sums:
        """Frames of each conformer, their squares and products with the size of the block, by group of conformers."""
        size, found = np.bincount(data.units, minlength=data.n_units).astype(np.float64), {}
        for group, conformers in self._conformers(data).items():
            counts = np.stack(
                [np.bincount(data.units, weights=each, minlength=data.n_units) for each in conformers], axis=1
            )
            sizes = np.broadcast_to(size[:, None], counts.shape)
            found[group] = np.stack([sizes, counts, sizes**2, counts * sizes, counts**2], axis=1)
        return found

    def distances(self, row: Sums, target: Sums) -> dict[str, Float[np.ndarray, "draw"]]:
        """`population_error/GROUP`, standard errors those of the first draw."""
        return self._named(row, target, lambda errors: errors[:1])

    def permuted(self, blocks: BlockPermutation) -> dict[str, Float[np.ndarray, "draw"]]:
        """Scores of the samples drawn from blocks, draw by draw."""
        sums = self.sums(blocks.pool)
        same = _same_sides(blocks)[:, None]
        row, target = weighted(sums, blocks.row), weighted(sums, blocks.target)
        return self._named(row, target, lambda errors: np.where(same, errors[:1], errors))

    def _named(
        self, row: Sums, target: Sums, chosen: Callable[[np.ndarray], np.ndarray]
    ) -> dict[str, Float[np.ndarray, "draw"]]:
        found = {}
        for group in row:
            h, errors = cohen_h(row[group], target[group])
            score = h / chosen(errors)
            found[f"population_error/{group}"] = score.max(1) * errors[0, score[0].argmax()]
        return found

    def _conformers(self, data: Observables) -> dict[str, list[Membership]]:
        """By group, for each conformer 1 in its frames and 0 in others; for averages, the share of the residues."""
        degrees = np.degrees(data["torsions"])
        residues = [_basins(*(degrees[:, column] for column in pair)) for _, pair in ramachandran_pairs(self.torsions)]
        found: dict[str, list[Membership]] = {}
        for group in residues[0] if residues else ():
            basins = [list(each) for each in zip(*(residue[group] for residue in residues), strict=True)]
            averages = [np.mean(each, axis=0) for each in basins if len(each) > 1]
            found[group] = [*(one for each in basins for one in each), *averages]
        side_chains = [i for i, torsion in enumerate(self.torsions) if torsion.kind == "side_chain"]
        if side_chains:
            sectors = [np.floor(degrees[:, i] % 360.0 / (360.0 / ROTAMERS)) for i in side_chains]
            found["side_chain"] = [
                (sector == number).astype(np.float64) for sector in sectors for number in range(ROTAMERS)
            ]
        return found


def _basins(phi: Float[np.ndarray, "frame"], psi: Float[np.ndarray, "frame"]) -> dict[str, list[Membership]]:
    """Basins of a residue by group; angles in degrees."""
    left, strand = phi > 0, phi < EXTENDED_PHI_DEG
    helical = (psi > HELICAL_PSI_DEG[0]) & (psi < HELICAL_PSI_DEG[1])
    right = [~left & (helical == curl) & (strand == far) for curl in (True, False) for far in (True, False)]
    return {"backbone": [each.astype(np.float64) for each in right], "left_handed": [left.astype(np.float64)]}


def cohen_h(
    row: Float[np.ndarray, "draw 5 conformer"], target: Float[np.ndarray, "draw 5 conformer"]
) -> tuple[Float[np.ndarray, "draw conformer"], Float[np.ndarray, "draw conformer"]]:
    """Size of Cohen's h of each conformer, and its standard error, from weighted sums over blocks.

    The variance of a share is that of a ratio of sums over blocks (Cochran, Sampling Techniques, 1977, section 6.8),
    carried over to h by its slope between the two, `1 / sqrt(p (1 - p))`. The least error is that of one frame.
    """
    (share, variance, frames), (other, others, fewer) = _share(row), _share(target)
    least = 1 / np.minimum(frames, fewer)
    middle = np.clip((share + other) / 2, least, 1 - least)
    h = 2 * np.abs(np.arcsin(np.sqrt(share)) - np.arcsin(np.sqrt(other)))
    return h, np.sqrt((variance + others) / (middle * (1 - middle)) + least)


def _share(sums: Float[np.ndarray, "draw 5 conformer"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of each conformer, its variance, and the number of frames."""
    frames, counted, squares, products, counts = np.moveaxis(sums, 1, 0)
    share = np.clip(counted / np.maximum(frames, 1.0), 0.0, 1.0)
    blocks = frames**2 / np.maximum(squares, 1.0)  # as many blocks of one size
    spread = np.maximum(counts - 2 * share * products + share**2 * squares, 0.0)
    return share, spread / np.maximum(frames, 1.0) ** 2 * blocks / np.maximum(blocks - 1, 1.0), frames


def _same_sides(blocks: BlockPermutation) -> Bool[np.ndarray, "draw"]:
    """Whether a draw's samples are of the blocks of the first draw's: the first itself, and resamples of it."""
    pairs = ((blocks.row, blocks.row[0] == 0), (blocks.target, blocks.target[0] == 0))
    return np.logical_and(*((weights[:, others] == 0).all(1) for weights, others in pairs))
