"""Forces of bonds, angles, torsions, impropers, correction maps and exceptions, from the slopes of their energies.

Each internal coordinate's gradient is written down (torsions after Blondel and Karplus, J. Comput. Chem. 1996, 17,
1132); the energies' slopes in it are those of `terms`. Torsions over the same four atoms share their geometry.
"""

from math import pi

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.md.engines.compiled.atom_sums import AtomSums
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.md.force_field.terms.cmap import spline_energy, spline_knots

_STRAIGHT = 1e-12
"""nm^4; squared sine terms below it belong to three atoms on a line, which have no plane to turn in."""


class BondedForces:
    """Tables of all bonded terms, and the forces from them.

    Args:
        parameters: the force field.
    """

    def __init__(self, parameters: ForceFieldParameters) -> None:
        p = self._parameters = parameters
        self._quads, self._place = torch.unique(_quads(p), dim=0, return_inverse=True)
        self._of_quads = AtomSums(self._place, len(self._quads), like=p.masses)
        self._pairs = p.bond_atoms if p.cutoff is None else torch.cat([p.bond_atoms, p.exception_atoms])
        atoms = torch.cat([table.T.flatten() for table in (self._pairs, p.angle_atoms, self._quads)])
        self._sums = AtomSums(atoms, p.n_atoms, like=p.masses)
        self._knots = None if p.cmap is None else spline_knots(p.cmap.energy)

    def forces(self, positions: Float[Tensor, "3 atom replica"]) -> Float[Tensor, "3 atom replica"]:
        """Forces in kJ/mol/nm; nothing here knows of images, as in `force_field`."""
        return self._sums(
            torch.cat([*self._of_pairs(positions), *self._of_angles(positions), *self._of_torsions(positions)], 1)
        )

    def _of_pairs(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        p = self._parameters
        first, second = positions[:, self._pairs[:, 0]], positions[:, self._pairs[:, 1]]
        between = second - first
        distance = between.square().sum(0).sqrt()
        n = len(p.bond_atoms)
        slope = 2 * p.bond_k[:, None] * (distance[:n] - p.bond_length[:, None])
        if p.cutoff is not None:
            slope = torch.cat([slope, self._of_exceptions(distance[n:])])
        pull = between * (slope / distance)
        return pull, -pull

    def _of_exceptions(self, distance: Float[Tensor, "exception replica"]) -> Float[Tensor, "exception replica"]:
        p, inverse = self._parameters, 1 / distance
        sixth = (p.exception_sigma[:, None] * inverse).square().pow(3)
        steep = 24 * p.exception_epsilon[:, None] * (sixth - 2 * sixth.square())
        return (steep - p.coulomb_constant * p.exception_charge_product[:, None] * inverse) * inverse

    def _of_angles(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        p = self._parameters
        first, middle, last = (positions[:, column] for column in p.angle_atoms.unbind(1))
        u, v = first - middle, last - middle
        normal = _cross(u, v)
        sine = normal.square().sum(0).clamp(min=_STRAIGHT).sqrt()
        angle = torch.atan2(sine, (u * v).sum(0))
        slope = 2 * p.angle_k[:, None] * (angle - p.angle_theta0[:, None])
        on_first = _cross(u, normal) * (-slope / (sine * u.square().sum(0)))
        on_last = _cross(normal, v) * (-slope / (sine * v.square().sum(0)))
        return on_first, -(on_first + on_last), on_last

    def _of_torsions(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        a, b, c, d = (positions[:, column] for column in self._quads.unbind(1))
        before, axis, after = b - a, c - b, d - c
        one, other = _cross(before, axis), _cross(axis, after)
        square = axis.square().sum(0)
        length = square.sqrt()
        angle = torch.atan2(length * (before * other).sum(0), (one * other).sum(0))
        slope = self._slopes(angle) * length
        on_a = one * (slope / one.square().sum(0).clamp(min=_STRAIGHT))
        on_d = other * (-slope / other.square().sum(0).clamp(min=_STRAIGHT))
        shift = on_d * ((after * axis).sum(0) / square) - on_a * ((before * axis).sum(0) / square)
        return on_a, shift - on_a, -shift - on_d, on_d

    def _slopes(self, angle: Float[Tensor, "quad replica"]) -> Float[Tensor, "quad replica"]:
        """Derivative of the energy in each torsion angle."""
        p, n = self._parameters, len(self._parameters.torsion_atoms)
        periodicity = p.torsion_periodicity[:, None].to(angle.dtype)
        phase = periodicity * angle[self._place[:n]] - p.torsion_phase[:, None]
        slopes = [-p.torsion_k[:, None] * periodicity * phase.sin()]
        if p.impropers is not None:
            away = angle[self._place[n : n + len(p.impropers.theta0)]] - p.impropers.theta0[:, None]
            away = away - 2 * pi * (away / (2 * pi)).round()
            slopes.append(2 * p.impropers.k[:, None] * away)
        if p.cmap is not None and self._knots is not None:
            maps = len(p.cmap.which)
            both = angle[self._place[len(self._place) - 2 * maps :]].unflatten(0, (2, maps))
            with torch.enable_grad():
                both = both.detach().requires_grad_()
                energy = spline_energy(both, p.cmap.which[:, None], self._knots)
                (by_angle,) = torch.autograd.grad(energy.sum(), both)
            slopes.append(by_angle.flatten(0, 1))
        return self._of_quads(torch.cat(slopes)[None])[0]


def _quads(p: ForceFieldParameters) -> Int[Tensor, "quad 4"]:
    """Four atoms of every torsion, every improper, the first and then the second torsion of every correction map."""
    impropers = [] if p.impropers is None else [p.impropers.atoms]
    maps = [] if p.cmap is None else [p.cmap.atoms[:, :4], p.cmap.atoms[:, 4:]]
    return torch.cat([p.torsion_atoms, *impropers, *maps])


def _cross(u: Float[Tensor, "3 term replica"], v: Float[Tensor, "3 term replica"]) -> Float[Tensor, "3 term replica"]:
    (ux, uy, uz), (vx, vy, vz) = u.unbind(0), v.unbind(0)
    return torch.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx])
