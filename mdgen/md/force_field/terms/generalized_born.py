"""Generalised Born solvation by HCT, OBC, GBn and GBn2, with salt and a surface term.

Born radii come from the pairwise descreening of Hawkins, Cramer and Truhlar (J. Phys. Chem. 1996, 100, 19824), to which
GBn adds the integral over the neck between two atoms.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.md.force_field.parameters import BornParameters, Cutoff, NeckParameters

_PROBE_NM = 0.14


def born_radii(
    distance: Float[Tensor, "replica pair"],
    pairs: Int[Tensor, "pair 2"],
    born: BornParameters,
    cutoff: Cutoff | None = None,
) -> Float[Tensor, "replica atom"]:
    """Effective Born radii in nm.

    With the offset radius o_i = r_i - offset, I_i the sum of descreening and necks, `psi = o_i I_i` and
    `1/B_i = 1/o_i - tanh(alpha psi - beta psi^2 + gamma psi^3) / r_i`; HCT has `1/B_i = 1/o_i - I_i` instead.

    Args:
        distance: distance of every pair `i < j`, in nm.
        pairs: the atoms of those pairs.
        born: the model.
        cutoff: distance from which atoms no longer descreen each other; None for no end.
    """
    reduced = born.radius - born.offset_nm
    scaled = born.scale * reduced
    low, high = pairs.unbind(1)
    of_low = _descreening(distance, reduced[low], scaled[high])
    of_high = _descreening(distance, reduced[high], scaled[low])
    if born.neck is not None:
        reach = born.radius[low] + born.radius[high] + born.neck.cut_nm
        of_low = of_low + _neck(distance, low, high, reach, born.neck)
        of_high = of_high + _neck(distance, high, low, reach, born.neck)
    if cutoff is not None:
        within = distance < cutoff.distance_nm
        of_low, of_high = torch.where(within, of_low, 0.0), torch.where(within, of_high, 0.0)
    integral = torch.zeros(distance.shape[0], len(reduced), dtype=distance.dtype, device=distance.device)
    integral = integral.index_add(1, low, of_low).index_add(1, high, of_high)
    if born.kind == "HCT":
        return 1 / (1 / reduced - integral)
    psi = reduced * integral
    return 1 / (1 / reduced - torch.tanh(psi * (born.alpha - psi * (born.beta - born.gamma * psi))) / born.radius)


def polar_energy(
    distance: Float[Tensor, "replica pair"],
    pairs: Int[Tensor, "pair 2"],
    radii: Float[Tensor, "replica atom"],
    charges: Float[Tensor, "atom"],
    born: BornParameters,
    constant: float,
    cutoff: Cutoff | None = None,
) -> Float[Tensor, "replica"]:
    """Polar solvation energy in kJ/mol, self terms and pairs (excluded pairs as well).

    `-constant/2 sum_ij (1/eps_in - exp(-kappa f_ij)/eps_out) q_i q_j / f_ij` with
    `f_ij^2 = r^2 + B_i B_j exp(-r^2 / (4 B_i B_j))`, which is `B_i` for an atom itself. Salt enters as in Srinivasan et
    al. (Theor. Chem. Acc. 1999, 101, 426). With a cutoff r_c pairs end there, and have `1/f_ij - 1/r_c` in place of
    `1/f_ij`, as in OpenMM; self terms stay as they are.
    """
    low, high = pairs.unbind(1)
    product = radii.index_select(1, low) * radii.index_select(1, high)
    square = distance.square()
    f = (square + product * torch.exp(-square / (4 * product))).sqrt()
    itself = (0.5 * _transfer(radii, born) * charges.square() / radii).sum(-1)
    of_pairs = _transfer(f, born) * charges[low] * charges[high]
    if cutoff is None:
        return -constant * (itself + (of_pairs / f).sum(-1))
    shifted = of_pairs * (1 / f - 1 / cutoff.distance_nm)
    return -constant * (itself + torch.where(distance < cutoff.distance_nm, shifted, 0.0).sum(-1))


def surface_energy(radii: Float[Tensor, "replica atom"], born: BornParameters) -> Float[Tensor, "replica"]:
    """Non-polar energy `s sum_i (r_i + 0.14)^2 (r_i / B_i)^6` in kJ/mol (Schaefer's ACE, as OpenMM writes it)."""
    return born.surface_energy * ((born.radius + _PROBE_NM).square() * (born.radius / radii).pow(6)).sum(-1)


def _transfer(f: Tensor, born: BornParameters) -> Tensor | float:
    """From the solute's dielectric to the solvent's, screened by salt over the distance `f`."""
    if born.kappa_per_nm == 0.0:
        return 1 / born.solute_dielectric - 1 / born.solvent_dielectric
    return 1 / born.solute_dielectric - torch.exp(-born.kappa_per_nm * f) / born.solvent_dielectric


def _neck(distance: Tensor, of: Tensor, by: Tensor, reach: Tensor, neck: NeckParameters) -> Tensor:
    """What the neck between atoms adds to the descreening of the atoms `of`."""
    square = (distance - neck.distance[of, by]).square()
    integral = neck.scale * neck.height[of, by] / (1 + 100 * square + 0.3e6 * square.pow(3))
    return torch.where(distance < reach, integral, torch.zeros_like(integral))


def _descreening(
    distance: Float[Tensor, "replica pair"], reduced: Float[Tensor, "pair"], scaled: Float[Tensor, "pair"]
) -> Float[Tensor, "replica pair"]:
    """What one sphere of radius `scaled` at `distance` takes from the integral of an atom of radius `reduced`."""
    upper = distance + scaled
    lower = torch.maximum(reduced, (distance - scaled).abs())
    inverse_lower, inverse_upper = 1 / lower, 1 / upper
    integral = 0.5 * (
        inverse_lower
        - inverse_upper
        + 0.25 * (distance - scaled.square() / distance) * (inverse_upper.square() - inverse_lower.square())
        + 0.5 * torch.log(lower * inverse_upper) / distance
    )
    return torch.where(upper > reduced, integral, torch.zeros_like(integral))
