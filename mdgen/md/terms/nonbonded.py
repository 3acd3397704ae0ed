"""Lennard-Jones and Coulomb without cutoff; normal pairs by the combining rules, exceptions by their own numbers."""

import torch
from jaxtyping import Float
from torch import Tensor


def lennard_jones_energy(
    distance: Float[Tensor, "replica pair"], sigma: Float[Tensor, "pair"], epsilon: Float[Tensor, "pair"]
) -> Float[Tensor, "replica"]:
    """Sum of `4 epsilon ((sigma/r)^12 - (sigma/r)^6)` in kJ/mol; distances and sigma in nm."""
    sixth = (sigma / distance).square().pow(3)
    return (4 * epsilon * (sixth.square() - sixth)).sum(-1)


def coulomb_energy(
    distance: Float[Tensor, "replica pair"], charge_product: Float[Tensor, "pair"], constant: float
) -> Float[Tensor, "replica"]:
    """Sum of `constant q_i q_j / r` in kJ/mol; charges in e, the constant in kJ nm/mol/e^2."""
    return constant * (charge_product / distance).sum(-1)


def lorentz_berthelot(
    sigma: Float[Tensor, "pair 2"], epsilon: Float[Tensor, "pair 2"]
) -> tuple[Float[Tensor, "pair"], Float[Tensor, "pair"]]:
    """Arithmetic mean of the two sigmas, geometric mean of the two epsilons of each pair."""
    product = epsilon.prod(-1)
    # The root's slope is infinite at 0, where many hydrogens lie; there the mean is 0 and so shall its gradient be.
    mean = torch.where(product > 0, product, torch.ones_like(product)).sqrt() * (product > 0)
    return sigma.mean(-1), mean
