"""Forces of generalised Born solvation in two sweeps over all pairs: the Born radii, then energies and their slopes.

The energy is that of `terms.generalized_born`; here stand its derivatives, from which come the forces.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.md.engines.compiled.pairs import sum_of_squares
from mdgen.md.force_field.parameters import BornParameters, ForceFieldParameters, NeckParameters

_PROBE_NM = 0.14


class DenseBorn:
    """Tables over both atoms of a pair, and the solvation forces from them.

    Args:
        parameters: a force field with generalised Born.
        born: its model.
    """

    def __init__(self, parameters: ForceFieldParameters, born: BornParameters) -> None:
        p = parameters
        if born.kind == "HCT":
            raise MdgenError("compile=true does not have generalised Born after HCT; use compile=false")
        self._born = born
        column = [v[:, None] if isinstance(v, Tensor) else v for v in (born.alpha, born.beta, born.gamma)]
        self._alpha, self._beta, self._gamma = column
        self._radius = born.radius[:, None]
        self._reduced = self._radius - born.offset_nm
        self._scaled = born.scale[:, None] * self._reduced
        self._itself = torch.eye(p.n_atoms, dtype=p.masses.dtype, device=p.masses.device)[..., None]
        self._apart = 1 - self._itself
        self._charges = (p.coulomb_constant * p.charges[:, None] * p.charges)[..., None]
        self._neck = None if born.neck is None else _Neck(born.radius, born.neck)

    def forces(self, positions: Float[Tensor, "3 atom replica"]) -> Float[Tensor, "3 atom replica"]:
        """Forces in kJ/mol/nm."""
        between = [x[:, None] - x[None] for x in positions.unbind(0)]
        # An atom is 1 nm from itself wherever that distance would divide; its own terms are then masked or zero.
        bare = sum_of_squares(between)
        distance = (bare + self._itself).sqrt()
        integral = (self._screened(distance) * self._apart).sum(1)
        radii, response = self._radii(integral)
        direct, by_radius = self._polar(bare, radii)
        weight = (by_radius.sum(1) + self._surface_slope(radii)) * response
        slope = self._screened_slope(distance, False) * weight[:, None]
        slope = (slope + self._screened_slope(distance, True) * weight[None]) / distance
        return torch.stack([-((direct + slope) * d).sum(1) for d in between])

    def _radii(self, integral: Float[Tensor, "atom replica"]) -> tuple[Tensor, Tensor]:
        """Born radii, and how they respond to their integrals."""
        psi = self._reduced * integral
        bent = torch.tanh(psi * (self._alpha - psi * (self._beta - self._gamma * psi)))
        radii = 1 / (1 / self._reduced - bent / self._radius)
        inner = self._alpha - psi * (2 * self._beta - 3 * self._gamma * psi)
        return radii, radii.square() * (1 - bent.square()) * inner * self._reduced / self._radius

    def _polar(self, square: Tensor, radii: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes of the polar energy: of each pair in r over r, and of each pair in the Born radius of its first atom.

        An atom with itself counts half in the energy, and so does its slope, which comes out of the same formula.
        """
        born = self._born
        product = radii[:, None] * radii[None]
        ratio = square / (4 * product)
        fade = torch.exp(-ratio)
        f = (square + product * fade).sqrt()
        kappa = born.kappa_per_nm
        solvent = torch.exp(-kappa * f) / born.solvent_dielectric if kappa else 1 / born.solvent_dielectric
        by_f = -(1 / born.solute_dielectric - solvent) / (f * f)
        by_f = by_f + kappa * solvent / f if kappa else by_f
        common = -self._charges * by_f / f
        return common * (1 - 0.25 * fade), 0.5 * common * fade * (1 + ratio) * radii[None]

    def _surface_slope(self, radii: Float[Tensor, "atom replica"]) -> Float[Tensor, "atom replica"] | float:
        if not self._born.surface_energy:
            return 0.0
        area = self._born.surface_energy * (self._radius + _PROBE_NM).square()
        return -6 * area * (self._radius / radii).pow(6) / radii

    def _screened(self, distance: Float[Tensor, "atom atom replica"]) -> Float[Tensor, "atom atom replica"]:
        """What the second atom of each pair takes from the first one's integral."""
        reduced, scaled = self._reduced[:, None], self._scaled[None]
        upper, lower = distance + scaled, torch.maximum(reduced, (distance - scaled).abs())
        inverse_lower, inverse_upper = 1 / lower, 1 / upper
        squares = inverse_upper * inverse_upper - inverse_lower * inverse_lower
        value = 0.5 * (
            inverse_lower
            - inverse_upper
            + 0.25 * (distance - scaled * scaled / distance) * squares
            + 0.5 * torch.log(lower * inverse_upper) / distance
        )
        value = torch.where(upper > reduced, value, 0.0)
        return value if self._neck is None else value + self._neck.value(distance)

    def _screened_slope(self, distance: Tensor, of_second: bool) -> Float[Tensor, "atom atom replica"]:
        """Derivative in the distance of `_screened`, or `of_second` that of what the first atom takes from the second.

        At a fixed distance the integral does not change with its two bounds, save where one sphere holds the other.
        """
        first, second = self._reduced[:, None], self._scaled[None]
        reduced, scaled = (self._reduced[None], self._scaled[:, None]) if of_second else (first, second)
        upper, lower = distance + scaled, torch.maximum(reduced, (distance - scaled).abs())
        inverse, inverse_lower, inverse_upper = 1 / distance, 1 / lower, 1 / upper
        squares = inverse_upper * inverse_upper - inverse_lower * inverse_lower
        ratio = scaled * inverse
        slope = 0.125 * (1 + ratio * ratio) * squares
        slope = slope - 0.25 * torch.log(lower * inverse_upper) * inverse * inverse
        slope = slope + torch.where(scaled - distance > reduced, inverse_lower * inverse_lower, 0.0)
        slope = torch.where(upper > reduced, slope, 0.0)
        return slope if self._neck is None else slope + self._neck.slope(distance, of_second)


class _Neck:
    """The neck integrals of GBn and GBn2, as in `terms.generalized_born`, and their derivatives."""

    def __init__(self, radius: Float[Tensor, "atom"], neck: NeckParameters) -> None:
        self._distance = neck.distance[..., None]
        self._height = neck.scale * neck.height[..., None]
        self._reach = (radius[:, None] + radius)[..., None] + neck.cut_nm

    def value(self, distance: Float[Tensor, "atom atom replica"]) -> Float[Tensor, "atom atom replica"]:
        """What the neck adds to the integral of each pair's first atom."""
        square = (distance - self._distance).square()
        integral = self._height / (1 + 100 * square + 0.3e6 * square * square * square)
        return torch.where(distance < self._reach, integral, 0.0)

    def slope(self, distance: Tensor, of_second: bool) -> Float[Tensor, "atom atom replica"]:
        """Derivative of that in the distance, or `of_second` of what it adds to the second atom's."""
        best, height = (v.transpose(0, 1) if of_second else v for v in (self._distance, self._height))
        away = distance - best
        square = away * away
        below = 1 + 100 * square + 0.3e6 * square * square * square
        slope = -height * away * (200 + 1.8e6 * square * square) / (below * below)
        return torch.where(distance < self._reach, slope, 0.0)
