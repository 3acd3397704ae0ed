"""Free energies in kT from histograms, and the root-mean-square difference of two."""

import numpy as np
from jaxtyping import Float


def free_energy(counts: Float[np.ndarray, "*batch bin"]) -> Float[np.ndarray, "*batch bin"]:
    """`F = -ln p` in kT, zero at its minimum; infinite in empty bins.

    >>> free_energy(np.array([1.0, np.e, 0.0])).round(6).tolist()
    [1.0, 0.0, inf]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        energy = -np.log(counts)
        return energy - energy.min(-1, keepdims=True)


def free_energy_rmse(
    reference: Float[np.ndarray, "*batch bin"],
    generated: Float[np.ndarray, "*batch bin"],
    below_kT: float = 5.0,
) -> Float[np.ndarray, "*batch"]:
    """Root-mean-square difference in kT of two free energies over the bins where the reference's is below `below_kT`.

    A free energy is known up to a constant, so the constant that makes the difference smallest (its mean) is taken out.
    A bin that the generated frames never reach has an infinite free energy; it counts as half a frame, which
    bounds the difference.

    Args:
        reference: counts of the reference in each bin.
        generated: counts of the generated frames in the same bins.
        below_kT: the depth, from the reference's minimum, down to which bins are compared.
    """
    counted = free_energy(reference) < below_kT
    scale = reference.sum(-1, keepdims=True) / np.maximum(generated.sum(-1, keepdims=True), 1)
    difference = np.log(np.maximum(reference, 1e-300)) - np.log(np.maximum(generated, 0.5) * scale)
    weight = counted / np.maximum(counted.sum(-1, keepdims=True), 1)
    mean = (weight * difference).sum(-1, keepdims=True)
    return np.asarray(np.sqrt((weight * (difference - mean) ** 2).sum(-1)))
