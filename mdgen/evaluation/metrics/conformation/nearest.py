"""Nearest frames of the dynamics, whatever their orientation: frames that a model has copied.

Frames are compared by the distances of some pairs of atoms, hydrogens included (the fingerprint), so neither rotation
nor translation hides a copy. Bonds, angles and rotors move independently of each other, so two frames of dynamics are
hardly ever alike in all of these distances: what is nearer to the data than a held-out replicate ever is was copied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from mdgen.evaluation.metrics.target import MetricFamily, Target, distance
from mdgen.evaluation.statistics.intervals import bootstrap_weights, percentile_interval
from mdgen.evaluation.statistics.observables import Observables
from mdgen.results import Estimate

QUERIES = 2000
"""Frames of a row whose nearest frame is sought."""

LEAST_DISTANCES = 6
"""With fewer distances in the fingerprint, frames of different dynamics may be alike by chance."""

QUANTILE, FACTOR = 0.001, 0.5
"""A frame is a copy below half of the distance that one in a thousand of the replicate's frames is within."""

SAME_NM = 1e-5
"""Distance below which frames differ by rounding alone."""


class NearestMetrics(MetricFamily):
    """Mean distance to the nearest frame of the target: what copies make small, beside what the replicate has.

    It is no distance between distributions, 0 is not perfect, so nothing is permuted and no bound set.
    """

    descriptions: ClassVar = {
        "nearest_frame_nm": distance(
            "Nearest frame (nm)",
            "mean over frames of the distance to the nearest frame of the reference: root-mean-square difference of up "
            "to 24 distances between atoms. A model that is nearer than the replicate has learned frames by heart.",
        )
    }

    @classmethod
    def applies(cls, target: Target) -> bool:
        """Whether the fingerprint can tell frames apart."""
        return "fingerprint" in target.data and target.data["fingerprint"].shape[1] >= LEAST_DISTANCES

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.target.data["fingerprint"])

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """`nearest_frame_nm` from frames spread evenly over the row."""
        chosen = _spread(row, QUERIES // 4)
        found, units = _nearest(self._tree, row["fingerprint"][chosen]), row.units[chosen]
        sums, counts = np.bincount(units, weights=found), np.bincount(units)
        weights = bootstrap_weights(len(sums), self.settings.resamples, self.target.rng())
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (weights @ sums) / (weights @ counts)
        return {"nearest_frame_nm": percentile_interval(float(found.mean()), means)}


@dataclass(frozen=True)
class Memorisation:
    """How near generated frames are to some dynamics.

    Args:
        source: name of the dynamics.
        share: share of generated frames that are copies.
        nearest_nm: median distance of generated frames to the nearest frame of the dynamics.
        replicate_nm: the same of the replicate to the reference.
        copy_nm: distance below which a frame is a copy.
    """

    source: str
    share: float
    nearest_nm: float
    replicate_nm: float
    copy_nm: float


def memorisation(
    reference: Observables, replicate: Observables, generated: Observables, sources: Mapping[str, Observables]
) -> list[Memorisation]:
    """How much of the generated frames was copied from each of some sources, given by their names.

    The reference and its replicate set the scale by their distances to each other: a copy is nearer than half of what
    one in a thousand frames of the replicate reaches. Empty where the molecule is too small for frames to be told
    apart.
    """
    if reference["fingerprint"].shape[1] < LEAST_DISTANCES:
        return []
    trees = {name: KDTree(data["fingerprint"]) for name, data in sources.items()}
    honest = _nearest(KDTree(reference["fingerprint"]), replicate["fingerprint"][_spread(replicate, QUERIES)])
    honest = honest[honest > SAME_NM]  # a replicate that holds frames of the reference sets no scale
    copy_nm = max(SAME_NM, FACTOR * float(np.quantile(honest, QUANTILE))) if len(honest) else SAME_NM
    middle = float(np.median(honest)) if len(honest) else float("nan")
    frames = generated["fingerprint"][_spread(generated, QUERIES)]
    found = []
    for name, tree in trees.items():
        nearest = _nearest(tree, frames)
        share = float((nearest < copy_nm).mean())
        found.append(Memorisation(name, share, float(np.median(nearest)), middle, copy_nm))
    return found


def _spread(data: Observables, number: int) -> np.ndarray:
    """At most `number` frames spread evenly, and not in step with anything that comes back every few frames."""
    return np.unique((np.arange(number) + 0.5) * data.n_frames / number).astype(np.int64)


def _nearest(tree: KDTree, frames: Float[np.ndarray, "frame distance"]) -> Float[np.ndarray, "frame"]:
    """Root-mean-square difference in nm from the nearest frame of the tree."""
    return np.asarray(tree.query(frames)[0]) / frames.shape[1] ** 0.5
