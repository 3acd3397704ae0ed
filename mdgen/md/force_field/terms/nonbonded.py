"""Lennard-Jones and Coulomb, without cutoff or with one; pairs by the combining rules, exceptions by their own numbers.

With a cutoff, Lennard-Jones is switched off smoothly or cut, and Coulomb is that of a reaction field: beyond the cutoff
lies a dielectric continuum (Tironi et al., J. Chem. Phys. 1995, 102, 5451). The reaction field may be switched off as
well, more smoothly than Lennard-Jones: Coulomb is a hundred times stronger where the switch begins, and where the third
derivative of the energy jumps leapfrog loses or gains energy at random, by the cube of the time step.
"""

from math import pi

import torch
from jaxtyping import Float, Int
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from mdgen.md.force_field.parameters import Cutoff, PairTable

_INTEGRATION_POINTS = 64


def lennard_jones_energy(
    distance: Float[Tensor, "replica pair"],
    sigma: Float[Tensor, "*replica pair"],
    epsilon: Float[Tensor, "*replica pair"],
    cutoff: Cutoff | None = None,
) -> Float[Tensor, "replica"]:
    """Sum of `4 epsilon ((sigma/r)^12 - (sigma/r)^6)` in kJ/mol, times `switch` below the cutoff; r and sigma in nm."""
    sixth = (sigma / distance).square().pow(3)
    energy = 4 * epsilon * (sixth.square() - sixth)
    if cutoff is None:
        return energy.sum(-1)
    return torch.where(distance < cutoff.distance_nm, energy * switch(distance, cutoff), 0.0).sum(-1)


def coulomb_energy(
    distance: Float[Tensor, "replica pair"],
    charge_product: Float[Tensor, "*replica pair"],
    constant: float,
    cutoff: Cutoff | None = None,
) -> Float[Tensor, "replica"]:
    """Sum of `constant q_i q_j / r` in kJ/mol; charges in e, the constant in kJ nm/mol/e^2.

    With a cutoff, `constant q_i q_j (1/r + k r^2 - c)` below it, with its `reaction_field`, times `smooth_switch` where
    the cutoff says so.
    """
    if cutoff is None:
        return constant * (charge_product / distance).sum(-1)
    k, c = cutoff.reaction_field
    energy = charge_product * (1 / distance + k * distance.square() - c)
    if cutoff.switch_coulomb:
        energy = energy * smooth_switch(distance, cutoff)
    return constant * torch.where(distance < cutoff.distance_nm, energy, 0.0).sum(-1)


def switch(distance: Float[Tensor, "*pair"], cutoff: Cutoff) -> Float[Tensor, "*pair"]:
    """`1 - 10 x^3 + 15 x^4 - 6 x^5` with `x = (r - r_s) / (r_c - r_s)` between 0 and 1; 1 without a switch."""
    if cutoff.switch_nm is None:
        return torch.ones_like(distance)
    x = _within_switch(distance, cutoff.switch_nm, cutoff.distance_nm)
    return 1 - x.pow(3) * (10 - x * (15 - 6 * x))


def smooth_switch(distance: Float[Tensor, "*pair"], cutoff: Cutoff) -> Float[Tensor, "*pair"]:
    """`1 - 35 x^4 + 84 x^5 - 70 x^6 + 20 x^7`, x as in `switch`: three derivatives are continuous instead of two."""
    assert cutoff.switch_nm is not None
    x = _within_switch(distance, cutoff.switch_nm, cutoff.distance_nm)
    return 1 - x.pow(4) * (35 - x * (84 - x * (70 - 20 * x)))


def _within_switch(distance: Tensor, first_nm: float, last_nm: float) -> Tensor:
    """How far a distance lies within a switch, from 0 at its beginning and before to 1 at its end and beyond."""
    return ((distance - first_nm) / (last_nm - first_nm)).clamp(0, 1)


def lorentz_berthelot(
    sigma: Float[Tensor, "*pair 2"], epsilon: Float[Tensor, "*pair 2"]
) -> tuple[Float[Tensor, "*pair"], Float[Tensor, "*pair"]]:
    """Arithmetic mean of the two sigmas, geometric mean of the two epsilons of each pair."""
    product = epsilon.prod(-1)
    # The root's slope is infinite at 0, where many hydrogens lie; there the mean is 0 and so shall its gradient be.
    mean = torch.where(product > 0, product, torch.ones_like(product)).sqrt() * (product > 0)
    return sigma.mean(-1), mean


def pair_kinds(sigma: Float[Tensor, "atom"], epsilon: Float[Tensor, "atom"]) -> PairTable:
    """Combining rules tabulated over kinds of atoms with equal sigma and epsilon, so that pairs of kinds are few."""
    kinds, kind = torch.unique(torch.stack([sigma, epsilon], -1).detach(), dim=0, return_inverse=True)
    both = torch.stack(torch.broadcast_tensors(kinds[:, None], kinds[None]), -1)
    return PairTable(kind, *lorentz_berthelot(both[..., 0, :], both[..., 1, :]))


def dispersion_correction(
    count: Int[Tensor, "kind"], sigma: Float[Tensor, "kind kind"], epsilon: Float[Tensor, "kind kind"], cutoff: Cutoff
) -> Float[Tensor, ""]:
    """What Lennard-Jones beyond the cutoff amounts to in a homogeneous fluid, kJ nm^3/mol: divide it by the volume.

    `2 pi N^2 <integral of (1 - S(r)) 4 epsilon ((sigma/r)^12 - (sigma/r)^6) r^2 dr>` with the mean over all pairs of
    atoms and each atom with itself, as OpenMM takes it (Shirts et al., J. Phys. Chem. B 2007, 111, 13052).

    Args:
        count: atoms of each kind.
        sigma: nm, of each pair of kinds.
        epsilon: kJ/mol, of each pair of kinds.
        cutoff: distance and switch.
    """
    # Pairs of atoms, each atom with itself among them, by the kinds of the two.
    weight = (torch.outer(count, count) + torch.diag(count)) / 2
    sixth = sigma.pow(6)
    beyond = 4 * epsilon * sixth * (sixth / (9 * cutoff.distance_nm**9) - 1 / (3 * cutoff.distance_nm**3))
    if cutoff.switch_nm is not None:
        beyond = beyond + 4 * epsilon * sixth * _switched_part(sixth, cutoff)
    n = int(count.sum())
    return 2 * pi * n**2 * (weight * beyond).sum() / (n * (n + 1) / 2)


def _switched_part(sixth: Tensor, cutoff: Cutoff) -> Tensor:
    """Integral of `(1 - S) (sigma^6 r^-10 - r^-4)` from the switch to the cutoff, by Gauss and Legendre."""
    nodes, weights = (torch.from_numpy(values) for values in leggauss(_INTEGRATION_POINTS))
    assert cutoff.switch_nm is not None
    half = (cutoff.distance_nm - cutoff.switch_nm) / 2
    r = (cutoff.switch_nm + half * (nodes + 1)).to(sixth)
    missing = weights.to(sixth) * half * (1 - switch(r, cutoff))
    return sixth * (missing * r.pow(-10)).sum() - (missing * r.pow(-4)).sum()
