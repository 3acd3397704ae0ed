"""The protocol of AlphaFlow for ensembles of proteins, also reported by MDGen and ConfRover, and BioEmu's two numbers.

Definitions stand in `ensemble_distances`, `ensemble_observables` and `landscape_states`. As in AlphaFlow's public
analysis hydrogens are left out, both ensembles are superposed on the static structure that started the dynamics (heavy
atoms for RMSF, RMWD and exposure; C-alpha for the rest), and lengths are in angstrom. Where it draws frames at random,
frames are spread evenly here; where it counts each frame as a pair with itself, pairs are of different frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.evaluation.protocols.correlations import pearson, spearman
from mdgen.evaluation.protocols.ensemble_distances import (
    AtomicGaussians,
    AtomicSums,
    Plane,
    mean_pairwise_rmsd,
    pca_wasserstein,
    principal_components,
    project,
    rmwd_parts,
)
from mdgen.evaluation.protocols.ensemble_observables import (
    contact_shares,
    exposed_residues,
    exposure_information,
    exposures,
    jaccard,
    transient_contacts,
    weak_contacts,
)
from mdgen.evaluation.protocols.landscape_states import Landscape
from mdgen.evaluation.protocols.protein_frames import (
    Ensemble,
    Selection,
    read_ensemble,
    spread_evenly,
    static_structure,
)
from mdgen.evaluation.protocols.protocol import ProtocolResult, ProtocolRow, bounded_interval
from mdgen.registry import register
from mdgen.results import Estimate

ANGSTROM = 10.0
"""Angstrom in one nm."""

BOUNDS = {"rmsf_pearson/target": (-1.0, 1.0), "exposure_information_spearman": (-1.0, 1.0), "pc_cosine": (0.0, 1.0),
          "weak_contacts_jaccard": (0.0, 1.0), "transient_contacts_jaccard": (0.0, 1.0),
          "exposed_residues_jaccard": (0.0, 1.0), "coverage": (0.0, 1.0)}  # fmt: skip
"""Least and largest value by definition; 0 and infinity for what is not named."""


@register
@dataclass(frozen=True)
class ProteinProtocol:
    """Numbers comparable with the tables of AlphaFlow, MDGen, ConfRover and BioEmu.

    Args:
        structure: file of the static structure that started the dynamics; the reference's first frame where None.
        samples: frames of each set for pairs of frames, contacts, Wasserstein distances and the joint PCA;
            AlphaFlow's 250, on which Wasserstein distances depend.
        exposure_frames: frames of each set for solvent exposure.
        most_frames: frames of each set for all else.
        temperature_K: temperature of free energies where the reference does not say its own.
        resamples: resamples of the bootstrap over trajectories or blocks; the reference's PCA and landscape stay.
        seed: seed of the bootstrap.

    Raises:
        MdgenError: for numbers out of range.
    """

    structure: str | None = None
    samples: int = 250
    exposure_frames: int = 1000
    most_frames: int = 30_000
    temperature_K: float = 300.0
    resamples: int = 50
    seed: int = 137

    def __post_init__(self) -> None:
        for name in ("samples", "exposure_frames", "most_frames", "resamples"):
            if getattr(self, name) < 2:
                raise MdgenError(f"protocol.{name}={getattr(self, name)} is too few; give at least 2")
        if not self.temperature_K > 0:
            raise MdgenError(f"protocol.temperature_K={self.temperature_K} cannot be; give a temperature above zero")

    def require_applicable(self, reference: TrajectorySet) -> None:
        """Raise unless the molecule has enough C-alpha atoms and the static structure is one of it."""
        static_structure(self.structure, reference, Selection.of(reference.molecule))

    def judge(self, reference: TrajectorySet, others: Mapping[str, TrajectorySet]) -> ProtocolResult:
        """Measure each of the others against the reference."""
        selection = Selection.of(reference.molecule)
        structure = static_structure(self.structure, reference, selection)
        read = {
            name: read_ensemble(each, selection, structure, self.most_frames)
            for name, each in {"reference": reference, **others}.items()
        }
        plane = principal_components(read["reference"].alpha, 2)
        landscape = Landscape(project(read["reference"].alpha, plane), reference.temperature_K or self.temperature_K)
        measured = {name: _Measured.of(each, self, selection, plane, landscape) for name, each in read.items()}
        comparison = _Comparison(structure, selection, plane, landscape)
        target, rows, notes = measured.pop("reference"), {}, []
        if self.structure is None:
            notes.append(
                "Structures are superposed on the reference's first frame, which also decides what is in contact and "
                "buried; name the structure that started the dynamics as protocol.structure."
            )
        for name, each in measured.items():
            fluctuations = {
                "rmsf_A": ANGSTROM * each.sums.gaussians().rmsf,
                "reference_rmsf_A": ANGSTROM * target.sums.gaussians().rmsf,
            }
            metrics = comparison.estimates(target, each, self.resamples, np.random.default_rng(self.seed))
            arrays = {key: [round(value, 4) for value in array.tolist()] for key, array in fluctuations.items()}
            rows[name] = ProtocolRow(each.ensemble.n_frames, metrics, arrays)
            lacking = [metric for metric in BOUNDS if metric not in metrics]
            if lacking:
                notes.append(f"{name}: {', '.join(lacking)} not defined, since neither set has any or nothing varies.")
        return ProtocolResult("proteins", rows, tuple(notes))


@dataclass(frozen=True)
class _Measured:
    """An ensemble with what is measured on it once.

    Args:
        ensemble: superposed frames.
        sums: positions of the heavy atoms, by bootstrap unit.
        cells: frames in each cell of the landscape, by bootstrap unit.
        closely: frames whose exposure is measured.
        exposed: exposure of each residue in those frames.
        samples: number of frames of which pairs and contacts are taken.
    """

    ensemble: Ensemble
    sums: AtomicSums
    cells: Float[np.ndarray, "unit bin bin"]
    closely: Int[np.ndarray, "close"]
    exposed: Bool[np.ndarray, "close residue"]
    samples: int

    @classmethod
    def of(
        cls, ensemble: Ensemble, protocol: ProteinProtocol, selection: Selection, plane: Plane, landscape: Landscape
    ) -> "_Measured":
        closely = spread_evenly(len(ensemble), protocol.exposure_frames)
        return cls(
            ensemble,
            AtomicSums.of(ensemble.heavy, ensemble.units),
            landscape.smoothed(project(ensemble.alpha, plane), ensemble.units),
            closely,
            exposures(ensemble.heavy[closely], selection.topology),
            protocol.samples,
        )

    def drawn(self, units: Int[np.ndarray, "draw"]) -> "_Drawn":
        """The ensemble that these bootstrap units make, in the order given."""
        weights = np.bincount(units, minlength=len(self.sums.counts)).astype(np.float64)
        of_frame = self.ensemble.units
        frames = np.concatenate([np.flatnonzero(of_frame == unit) for unit in units])
        closely = np.concatenate([np.flatnonzero(of_frame[self.closely] == unit) for unit in units])
        density = np.tensordot(weights, self.cells, axes=1) / (weights @ self.sums.counts)
        few = frames[spread_evenly(len(frames), self.samples)]
        return _Drawn(self.sums.gaussians(weights), density, self.ensemble.alpha[few], self.exposed[closely])


@dataclass(frozen=True)
class _Drawn:
    """A bootstrap draw of an ensemble: Gaussians of heavy atoms, density, few C-alpha frames, exposure."""

    atoms: AtomicGaussians
    density: Float[np.ndarray, "bin bin"]
    alpha: Float[np.ndarray, "few alpha 3"]
    exposed: Bool[np.ndarray, "close residue"]


class _Comparison:
    """The static structure, and what is fitted to the reference."""

    def __init__(
        self, structure: Float[np.ndarray, "heavy 3"], selection: Selection, plane: Plane, landscape: Landscape
    ) -> None:
        self.plane, self.landscape = plane, landscape
        self.contacts = contact_shares(structure[None, selection.alpha]) > 0.5
        self.exposed = exposures(structure[None].astype(np.float32), selection.topology)[0]

    def estimates(
        self, target: _Measured, generated: _Measured, resamples: int, rng: np.random.Generator
    ) -> dict[str, Estimate]:
        """Every number with its interval; what is not defined is left out."""
        numbers = [len(each.sums.counts) for each in (target, generated)]
        value = self.values(*(each.drawn(np.arange(n)) for each, n in zip((target, generated), numbers, strict=True)))
        value["pc_cosine"] = self._pc_cosine(generated.ensemble.alpha)  # every frame; the draws take few, for speed
        draws = [
            self.values(
                *(each.drawn(rng.integers(n, size=n)) for each, n in zip((target, generated), numbers, strict=True))
            )
            for _ in range(resamples)
        ]
        return {
            name: bounded_interval(number, np.array([draw[name] for draw in draws]), *BOUNDS.get(name, (0.0, np.inf)))
            for name, number in value.items()
            if np.isfinite(number)
        }

    def values(self, target: _Drawn, generated: _Drawn) -> dict[str, float]:
        """Every number of two samples; NaN where it is not defined."""
        number = min(len(target.alpha), len(generated.alpha))
        mine, theirs = (each.alpha[spread_evenly(len(each.alpha), number)] for each in (target, generated))
        joint = principal_components(np.concatenate([mine, theirs]), 2)
        translation, variance = rmwd_parts(target.atoms, generated.atoms)
        coverage, error = self.landscape.compare(generated.density)
        lengths = {
            "pairwise_rmsd_A": mean_pairwise_rmsd(generated.alpha),
            "reference_pairwise_rmsd_A": mean_pairwise_rmsd(target.alpha),
            "rmsf_A": float(np.median(generated.atoms.rmsf)),
            "reference_rmsf_A": float(np.median(target.atoms.rmsf)),
            "rmwd_A": float(np.hypot(translation, variance)),
            "rmwd_translation_A": translation,
            "rmwd_variance_A": variance,
            "md_pca_w2_A": pca_wasserstein(mine, theirs, self.plane),
            "joint_pca_w2_A": pca_wasserstein(mine, theirs, joint),
        }
        return {
            **{name: ANGSTROM * length for name, length in lengths.items()},
            "rmsf_pearson/target": pearson(target.atoms.rmsf, generated.atoms.rmsf),
            "pc_cosine": self._pc_cosine(generated.alpha),
            **self._observables(target, generated),
            "coverage": coverage,
            "free_energy_mae_kcal_mol": error,
        }

    def _pc_cosine(self, alpha: Float[np.ndarray, "frame alpha 3"]) -> float:
        return float(abs(self.plane[1][0] @ principal_components(alpha, 1)[1][0]))

    def _observables(self, target: _Drawn, generated: _Drawn) -> dict[str, float]:
        shares = [contact_shares(each.alpha) for each in (target, generated)]
        exposed = [exposed_residues(self.exposed, each.exposed) for each in (target, generated)]
        information = [exposure_information(each.exposed).ravel() for each in (target, generated)]
        return {
            "weak_contacts_jaccard": jaccard(*(weak_contacts(self.contacts, each) for each in shares)),
            "transient_contacts_jaccard": jaccard(*(transient_contacts(self.contacts, each) for each in shares)),
            "exposed_residues_jaccard": jaccard(*exposed),
            "exposure_information_spearman": spearman(*information),
        }
