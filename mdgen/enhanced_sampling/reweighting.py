"""Reweighting: samples of one Boltzmann ensemble as weighted samples of another, with the size of what is left.

A frame x of the ensemble `p_A ~ exp(-U_A / kT_A)` counts for the ensemble `p_B ~ exp(-U_B / kT_B)` as

    w(x) ~ p_B(x) / p_A(x) ~ exp(U_A(x) / kT_A - U_B(x) / kT_B)

(Zwanzig, J. Chem. Phys. 22, 1420 (1954); Ferrenberg and Swendsen, Phys. Rev. Lett. 61, 2635 (1988)). No normalising
constant is needed. Averages with these weights converge to those of B wherever A has samples; a region of B that A
never visits is missing, and no number computed from the samples can tell.
"""

import numpy as np
from jaxtyping import Float

from mdgen.units import thermal_energy


def log_weights(
    sampled_kJ: Float[np.ndarray, "frame"], sampled_K: float, target_kJ: Float[np.ndarray, "frame"], target_K: float
) -> Float[np.ndarray, "frame"]:
    """Logarithm of each frame's weight, up to a constant: `U_A / kT_A - U_B / kT_B`.

    Args:
        sampled_kJ: potential energy U_A of the ensemble that the frames are samples of, in kJ/mol.
        sampled_K: temperature of that ensemble.
        target_kJ: potential energy U_B of the ensemble that is asked for.
        target_K: its temperature.
    """
    return sampled_kJ / thermal_energy(sampled_K) - target_kJ / thermal_energy(target_K)


def normalised_weights(logarithms: Float[np.ndarray, "frame"]) -> Float[np.ndarray, "frame"]:
    """Weights that sum to 1; a frame whose logarithm is not finite (an overlap of atoms, say) has none.

    >>> normalised_weights(np.log([1e-300, 3e-300]) + 5000).round(6).tolist()
    [0.25, 0.75]
    """
    known = np.where(np.isfinite(logarithms), logarithms, -np.inf)
    if not np.isfinite(known).any():
        return np.zeros_like(logarithms)
    weights = np.exp(known - known.max())
    return weights / weights.sum()


def effective_sample_size(weights: Float[np.ndarray, "sample"]) -> float:
    """Number of equally weighted samples whose mean has the same variance, `(sum w)^2 / sum w^2` (Kish, 1965).

    It counts independent samples where the samples themselves are independent.

    >>> effective_sample_size(np.array([1.0, 1.0, 2.0, 0.0])).__round__(6)
    2.666667
    """
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def reachable_share(logarithms: Float[np.ndarray, "frame"], least_effective: float) -> float:
    """How far, from 0 to 1, the frames reach towards the ensemble before their effective number falls below a bound.

    The ensembles between the two have the weights `w^s`; the effective number falls steadily with s, as the logarithm
    of `<w^s>` is convex in it.
    """
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        enough = effective_sample_size(normalised_weights(middle * logarithms)) >= least_effective
        low, high = (middle, high) if enough else (low, middle)
    return low
