"""Distances between ensembles of a protein, as AlphaFlow reports them; positions and distances in nm.

Jing, Berger and Jaakkola, AlphaFold Meets Flow Matching for Generating Protein Ensembles, ICML 2024
(arXiv:2402.04845), section 4.3 and appendix B.3; public analysis: github.com/bjing2016/alphaflow,
scripts/analyze_ensembles.py, commit c035f85.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist

Plane = tuple[Float[np.ndarray, "coordinate"], Float[np.ndarray, "component coordinate"]]
"""Mean of flattened positions, and principal components."""


@dataclass(frozen=True)
class AtomicSums:
    """Sums of the positions of each atom and of their outer products, by bootstrap unit."""

    first: Float[np.ndarray, "unit atom 3"]
    second: Float[np.ndarray, "unit atom 3 3"]
    counts: Float[np.ndarray, "unit"]

    @classmethod
    def of(cls, positions: Float[np.ndarray, "frame atom 3"], units: Int[np.ndarray, "frame"]) -> "AtomicSums":
        """Sums over the frames of each unit."""
        first, second = [], []
        for unit in range(int(units.max()) + 1):
            atoms = positions[units == unit].astype(np.float64).transpose(1, 0, 2)
            first.append(atoms.sum(1))
            second.append(atoms.transpose(0, 2, 1) @ atoms)
        return cls(np.array(first), np.array(second), np.bincount(units).astype(np.float64))

    def gaussians(self, weights: Float[np.ndarray, "unit"] | None = None) -> "AtomicGaussians":
        """The Gaussian of each atom, with each unit counted as often as its weight says."""
        weights = np.ones(len(self.counts)) if weights is None else weights
        number = weights @ self.counts
        mean = np.tensordot(weights, self.first, axes=1) / number
        second = np.tensordot(weights, self.second, axes=1) / number
        return AtomicGaussians(mean, second - mean[:, :, None] * mean[:, None, :])


@dataclass(frozen=True)
class AtomicGaussians:
    """Mean and covariance of the positions of each atom, in superposed frames."""

    mean: Float[np.ndarray, "atom 3"]
    covariance: Float[np.ndarray, "atom 3 3"]

    @property
    def rmsf(self) -> Float[np.ndarray, "atom"]:
        """Root-mean-square fluctuation of each atom about its mean."""
        return np.sqrt(np.maximum(np.trace(self.covariance, axis1=1, axis2=2), 0.0))


def mean_pairwise_rmsd(positions: Float[np.ndarray, "frame atom 3"]) -> float:
    """Mean C-alpha RMSD between any two different frames, as superposed on the static structure."""
    flat = positions.reshape(len(positions), -1).astype(np.float64)
    return float(pdist(flat).mean() / np.sqrt(positions.shape[1]))


def rmwd_parts(first: AtomicGaussians, second: AtomicGaussians) -> tuple[float, float]:
    """Translation and variance contributions to the root mean Wasserstein distance (AlphaFlow, equations 8 and 26).

    Of `W2^2 = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))`, the squared Wasserstein distance of an atom's two
    Gaussians, the root mean over atoms is taken of each term; RMWD is the root of the sum of their squares.
    """
    translation = ((first.mean - second.mean) ** 2).sum(-1)
    values, vectors = np.linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]) @ vectors.transpose(0, 2, 1)
    # (S1 S2)^(1/2) has the trace of the symmetric (S1^(1/2) S2 S1^(1/2))^(1/2).
    mixed = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second.covariance @ root), 0.0)).sum(-1)
    variance = np.maximum(first.rmsf**2 + second.rmsf**2 - 2 * mixed, 0.0)
    return float(np.sqrt(translation.mean())), float(np.sqrt(variance.mean()))


def principal_components(positions: Float[np.ndarray, "frame atom 3"], number: int) -> Plane:
    """Mean and leading principal components of the flattened positions."""
    flat = positions.reshape(len(positions), -1).astype(np.float64)
    mean = flat.mean(0)
    centred = flat - mean
    if len(flat) < flat.shape[1]:  # the smaller of the two Gram matrices has the same eigenvalues
        _, vectors = np.linalg.eigh(centred @ centred.T)
        components = (centred.T @ vectors[:, ::-1][:, :number]).T
        norms = np.linalg.norm(components, axis=1, keepdims=True)
        return mean, np.divide(components, norms, out=np.zeros_like(components), where=norms > 0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return mean, vectors[:, ::-1][:, :number].T


def project(
    positions: Float[np.ndarray, "frame atom 3"],
    plane: Plane,
) -> Float[np.ndarray, "frame component"]:
    """Principal components of each frame."""
    mean, components = plane
    return (positions.reshape(len(positions), -1).astype(np.float64) - mean) @ components.T


def wasserstein(first: Float[np.ndarray, "frame axis"], second: Float[np.ndarray, "frame axis"]) -> float:
    """2-Wasserstein distance of two clouds of equally many points, by the best assignment."""
    squares = cdist(first, second, "sqeuclidean")
    return float(np.sqrt(squares[linear_sum_assignment(squares)].mean()))


def pca_wasserstein(
    reference: Float[np.ndarray, "frame atom 3"],
    generated: Float[np.ndarray, "frame atom 3"],
    plane: Plane,
) -> float:
    """2-Wasserstein distance in a plane of principal components, over the root of the number of atoms as in RMSD."""
    return wasserstein(project(reference, plane), project(generated, plane)) / np.sqrt(reference.shape[1])
