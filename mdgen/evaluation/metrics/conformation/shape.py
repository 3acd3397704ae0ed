"""Size and shape: radius of gyration, distances of heavy pairs, contacts of residues, principal components."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.structure_checks import CHECKS
from mdgen.evaluation.metrics.target import SHARE, Target, distance
from mdgen.evaluation.metrics.unit_sums import Sums, UnitSumMetrics, mean_and_worst, wasserstein_1
from mdgen.evaluation.statistics.distributions import histograms, linear_bins
from mdgen.evaluation.statistics.observables import CHUNK, Observables

BINS = 50
"""Bins of each pair distance."""

SIZE_BINS = 400
"""Bins of the radius of gyration."""

MARGIN = 0.25
"""Range of histograms beyond the reference's, relative to it, on either side; values beyond it count at its ends."""

CONTACT_NM = 0.45
"""Residues are in contact where two of their heavy atoms are nearer."""


class SizeMetrics(UnitSumMetrics):
    """Radius of gyration, from histograms."""

    descriptions: ClassVar = {
        "radius_of_gyration_w1": distance(
            "Rg W1", "Wasserstein-1 distance of the radius of gyration over the reference's mean: 0.01 is one per cent."
        )
    }

    @classmethod
    def applies(cls, target: Target) -> bool:
        """Whether any frame was measured, and the molecule has a size."""
        return "structure" in target.data and len(sizes := _sizes(target.data)[0]) > 0 and bool(sizes.mean() > 0)

    def prepare(self) -> None:
        """Range of the histogram."""
        sizes = _sizes(self.target.data)[0]
        self._range, self._mean = _widened(sizes), float(sizes.mean())

    def sums(self, data: Observables) -> Sums:
        """Histograms."""
        sizes, units = _sizes(data)
        return {"size": histograms(linear_bins(sizes, *self._range, SIZE_BINS), units, SIZE_BINS, data.n_units)}

    def distances(self, row: Sums, target: Sums) -> dict[str, Float[np.ndarray, "draw"]]:
        """`radius_of_gyration_w1`."""
        width = (self._range[1] - self._range[0]) / SIZE_BINS
        return {"radius_of_gyration_w1": wasserstein_1(row["size"], target["size"], width) / self._mean}


class PairDistanceMetrics(UnitSumMetrics):
    """Distances of heavy pairs, from a histogram of each."""

    tables: ClassVar = ("pairs",)
    descriptions: ClassVar = {
        "pair_distance_w1_nm": distance(
            "Pair distance W1 (nm)",
            "Wasserstein-1 distance of the distance of two heavy atoms more than three bonds apart; at most 100 "
            "pairs; `all` is the mean over pairs, `worst` the largest.",
        )
    }

    def prepare(self) -> None:
        """Ranges of the histograms."""
        data = self.target.data
        pairs = data.tables["pairs"][data["sampled"][data["sampled"] >= 0]]
        self._low, high = np.transpose([_widened(column.astype(np.float64)) for column in pairs.T])
        self._width = (high - self._low) / BINS

    def sums(self, data: Observables) -> Sums:
        """Histograms of each pair, one after the other."""
        number = len(self._low)
        total = np.zeros(data.n_units * number * BINS)
        frames = np.flatnonzero(data["sampled"] >= 0)
        for start in range(0, len(frames), CHUNK):
            part = frames[start : start + CHUNK]
            values = (data.tables["pairs"][data["sampled"][part]] - self._low) / self._width
            binned = np.clip(values, 0, BINS - 1).astype(np.int64)
            flat = (data.units[part][:, None] * number + np.arange(number)) * BINS + binned
            total += np.bincount(flat.ravel(), minlength=len(total))
        return {"pairs": total.reshape(data.n_units, number, BINS)}

    def distances(self, row: Sums, target: Sums) -> dict[str, Float[np.ndarray, "draw"]]:
        """`pair_distance_w1_nm/all` and `/worst`."""
        each = wasserstein_1(row["pairs"], target["pairs"], 1.0) * self._width
        return mean_and_worst("pair_distance_w1_nm", each)


class ContactMetrics(UnitSumMetrics):
    """Contacts of residues."""

    tables: ClassVar = ("contacts",)
    descriptions: ClassVar = {
        "contact_error": distance(
            "Contact error",
            "absolute difference of the probability that two residues at least two apart in the chain are in contact, "
            "heavy atoms nearer than 0.45 nm; `all` is the mean over pairs of residues, `worst` the largest.",
            bounds=SHARE,
        )
    }

    def sums(self, data: Observables) -> Sums:
        """Numbers of frames and of contacts."""
        contacts = data.table_sums("contacts", lambda x: (x < CONTACT_NM).astype(np.float64))
        return {"count": data.sampled_counts(), "contacts": contacts}

    def distances(self, row: Sums, target: Sums) -> dict[str, Float[np.ndarray, "draw"]]:
        """`contact_error/all` and `/worst`."""
        each = np.abs(_mean(row, "contacts") - _mean(target, "contacts"))
        return mean_and_worst("contact_error", each)


class ComponentMetrics(UnitSumMetrics):
    """Principal components, from their first and second moments."""

    tables: ClassVar = ("components",)
    descriptions: ClassVar = {
        "pca_w2_nm": distance(
            "PCA W2 (nm)",
            "Wasserstein-2 distance in the reference's ten largest principal components of the superposed heavy atoms "
            "(alpha carbons above 200), both taken as Gaussian; over the root of the number of atoms, so that it is a "
            "root-mean-square deviation.",
        )
    }

    def sums(self, data: Observables) -> Sums:
        """Number of frames, sums, and sums of products."""
        return {
            "count": data.sampled_counts(),
            "first": data.table_sums("components", np.positive),
            "second": data.table_sums("components", lambda x: (x[:, :, None] * x[:, None]).reshape(len(x), -1)),
        }

    def distances(self, row: Sums, target: Sums) -> dict[str, Float[np.ndarray, "draw"]]:
        """`pca_w2_nm`."""
        return {"pca_w2_nm": gaussian_w2(*_moments(row), *_moments(target))}


def gaussian_w2(
    mean: Float[np.ndarray, "draw x"],
    covariance: Float[np.ndarray, "draw x x"],
    other_mean: Float[np.ndarray, "draw x"],
    other_covariance: Float[np.ndarray, "draw x x"],
) -> Float[np.ndarray, "draw"]:
    """W2 distance of Gaussians: `|m - n|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2)`, and the root of it.

    Givens and Shortt, Michigan Math. J. 31, 231 (1984). NaN for samples without frames.

    >>> eye = np.eye(2)[None]
    >>> print(gaussian_w2(np.zeros((1, 2)), eye, np.array([[3.0, 4.0]]), eye))
    [5.]
    """
    known = np.isfinite(covariance).all((1, 2)) & np.isfinite(other_covariance).all((1, 2))
    covariance, other_covariance = (np.where(known[:, None, None], c, 0.0) for c in (covariance, other_covariance))
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))[:, None]) @ vectors.transpose(0, 2, 1)
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other_covariance @ root), 0)).sum(-1)
    traces = np.trace(covariance, axis1=1, axis2=2) + np.trace(other_covariance, axis1=1, axis2=2)
    squared = ((mean - other_mean) ** 2).sum(-1) + traces - 2 * cross
    return np.where(known, np.sqrt(np.maximum(squared, 0)), np.nan)


def _mean(sums: Sums, name: str) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[name] / sums["count"][:, None])


def _moments(sums: Sums) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the principal components."""
    mean = _mean(sums, "first")
    second = _mean(sums, "second").reshape(*mean.shape, -1)
    return mean, second - mean[:, :, None] * mean[:, None]


def _sizes(data: Observables) -> tuple[np.ndarray, np.ndarray]:
    """Radii of gyration that were measured, with their units."""
    sizes = data["structure"][:, CHECKS.index("radius_of_gyration_nm")].astype(np.float64)
    known = np.isfinite(sizes)
    return sizes[known], data.units[known]


def _widened(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = MARGIN * max(high - low, 1e-3)
    return low - margin, high + margin
