"""Lennard-Jones and Coulomb forces of every pair, in one sweep over all partners of each atom.

Each pair is met twice, once from either side: that doubles the arithmetic, but each atom's force is a sum of its own,
which fuses into one kernel and writes nothing in between.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.md.force_field.parameters import Cutoff, ForceFieldParameters
from mdgen.md.force_field.terms.nonbonded import lorentz_berthelot


class DensePairs:
    """Tables over both atoms of a pair, and the forces from them.

    Without a cutoff the exceptions stand in the tables with their own numbers; with one they are left out, since they
    know neither cutoff nor images.

    Args:
        parameters: the force field.
    """

    def __init__(self, parameters: ForceFieldParameters) -> None:
        p = parameters
        self._cutoff = p.cutoff
        sigma, epsilon = _sigma_and_epsilon(p)
        charges = p.charges[:, None] * p.charges
        low, high = p.exception_atoms.unbind(1)
        for one, other in ((low, high), (high, low)):
            sigma[one, other] = p.exception_sigma
            epsilon[one, other] = p.exception_epsilon if p.cutoff is None else 0.0
            charges[one, other] = p.exception_charge_product if p.cutoff is None else 0.0
        self._itself = torch.eye(p.n_atoms, dtype=sigma.dtype, device=sigma.device)[..., None]
        apart = 1 - self._itself
        sixth = sigma.double().pow(6)
        self._dispersion = (4 * epsilon.double() * sixth)[..., None].to(sigma) * apart
        self._repulsion = (4 * epsilon.double() * sixth.square())[..., None].to(sigma) * apart
        self._charges = p.coulomb_constant * charges[..., None] * apart

    def forces(
        self, positions: Float[Tensor, "3 atom replica"], edges: Float[Tensor, "3 replica"] | None
    ) -> Float[Tensor, "3 atom replica"]:
        """Forces in kJ/mol/nm; `edges` are those of the periodic box in nm."""
        between = [x[:, None] - x[None] for x in positions.unbind(0)]
        if edges is not None:
            between = [d - edge * (d / edge).round() for d, edge in zip(between, edges.unbind(0), strict=True)]
        square = sum_of_squares(between) + self._itself
        force = self._force_over_distance(square)
        return torch.stack([(force * d).sum(1) for d in between])

    def _force_over_distance(self, square: Float[Tensor, "atom atom replica"]) -> Float[Tensor, "atom atom replica"]:
        inverse_square = 1 / square
        inverse = inverse_square.sqrt()
        sixth = inverse_square * inverse_square * inverse_square
        steep = (12 * self._repulsion * sixth - 6 * self._dispersion) * sixth * inverse_square
        cutoff = self._cutoff
        if cutoff is None:
            return steep + self._charges * inverse_square * inverse
        if cutoff.switch_nm is not None:
            value = (self._repulsion * sixth - self._dispersion) * sixth
            steep = _switched(steep, value, square * inverse, inverse, cutoff)
        epsilon, furthest = cutoff.reaction_field_dielectric, cutoff.distance_nm
        k = (epsilon - 1) / (2 * epsilon + 1) / furthest**3
        force = steep + self._charges * (inverse_square * inverse - 2 * k)
        return torch.where(square < furthest**2, force, 0.0)


def sum_of_squares(components: list[Tensor]) -> Tensor:
    """Squared length of vectors given by their components."""
    x, y, z = components
    return x * x + y * y + z * z


def _switched(steep: Tensor, value: Tensor, distance: Tensor, inverse: Tensor, cutoff: Cutoff) -> Tensor:
    """Force over distance of a term times the switching function; see `terms.nonbonded.switch`."""
    assert cutoff.switch_nm is not None
    width = cutoff.distance_nm - cutoff.switch_nm
    x = ((distance - cutoff.switch_nm) / width).clamp(0, 1)
    switch = 1 - x * x * x * (10 - x * (15 - 6 * x))
    slope = -30 * (x * (1 - x)) * (x * (1 - x)) / width
    return steep * switch - value * slope * inverse


def _sigma_and_epsilon(p: ForceFieldParameters) -> tuple[Tensor, Tensor]:
    """Of every pair of atoms, `(atom, atom)`."""
    if p.pair_table is not None:
        first, second = p.pair_table.kind[:, None], p.pair_table.kind
        return p.pair_table.sigma[first, second].clone(), p.pair_table.epsilon[first, second].clone()
    sigma, epsilon = (torch.stack(torch.broadcast_tensors(v[:, None], v), -1) for v in (p.sigma, p.epsilon))
    return lorentz_berthelot(sigma, epsilon)
