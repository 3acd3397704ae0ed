"""Generalised Born solvation of Onufriev, Bashford and Case (Proteins 2004, 55, 383), with a surface term.

Born radii come from the pairwise descreening of Hawkins, Cramer and Truhlar (J. Phys. Chem. 1996, 100, 19824).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.md.parameters import BornParameters

_PROBE_NM = 0.14


def born_radii(
    distance: Float[Tensor, "replica pair"], pairs: Int[Tensor, "pair 2"], born: BornParameters
) -> Float[Tensor, "replica atom"]:
    """Effective Born radii in nm.

    With the offset radius o_i = r_i - offset, `psi = o_i I_i` and
    `1/B_i = 1/o_i - tanh(alpha psi - beta psi^2 + gamma psi^3) / r_i`.

    Args:
        distance: of every pair `i < j`, in nm.
        pairs: the atoms of those pairs.
        born: the model.
    """
    reduced = born.radius - born.offset_nm
    scaled = born.scale * reduced
    low, high = pairs.unbind(1)
    integral = torch.zeros(distance.shape[0], len(reduced), dtype=distance.dtype, device=distance.device)
    integral = integral.index_add(1, low, _descreening(distance, reduced[low], scaled[high]))
    integral = integral.index_add(1, high, _descreening(distance, reduced[high], scaled[low]))
    psi = reduced * integral
    return 1 / (1 / reduced - torch.tanh(psi * (born.alpha - psi * (born.beta - born.gamma * psi))) / born.radius)


def polar_energy(
    distance: Float[Tensor, "replica pair"],
    pairs: Int[Tensor, "pair 2"],
    radii: Float[Tensor, "replica atom"],
    charges: Float[Tensor, "atom"],
    born: BornParameters,
    constant: float,
) -> Float[Tensor, "replica"]:
    """Polar solvation energy in kJ/mol, self terms and pairs (excluded pairs as well).

    `-constant/2 (1/eps_in - 1/eps_out) sum_ij q_i q_j / f_ij`, `f_ij^2 = r^2 + B_i B_j exp(-r^2 / (4 B_i B_j))`.
    """
    low, high = pairs.unbind(1)
    product = radii.index_select(1, low) * radii.index_select(1, high)
    square = distance.square()
    f = (square + product * torch.exp(-square / (4 * product))).sqrt()
    total = 0.5 * (charges.square() / radii).sum(-1) + (charges[low] * charges[high] / f).sum(-1)
    return -constant * (1 / born.solute_dielectric - 1 / born.solvent_dielectric) * total


def surface_energy(radii: Float[Tensor, "replica atom"], born: BornParameters) -> Float[Tensor, "replica"]:
    """Non-polar energy `s sum_i (r_i + 0.14)^2 (r_i / B_i)^6` in kJ/mol (Schaefer's ACE, as OpenMM writes it)."""
    return born.surface_energy * ((born.radius + _PROBE_NM).square() * (born.radius / radii).pow(6)).sum(-1)


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
