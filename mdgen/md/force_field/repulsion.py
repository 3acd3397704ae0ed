"""Repulsion alone, as coarse-grained models keep beads apart: a `Potential` to add to others."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.interfaces import Cells, Energies, Positions
from mdgen.md.force_field.fingerprint import Fingerprinted
from mdgen.md.force_field.parameters import Cutoff
from mdgen.md.force_field.terms.nonbonded import lorentz_berthelot
from mdgen.md.force_field.terms.pairs import normal_pairs, separations


class PowerRepulsion(Fingerprinted):
    """Sum of `4 epsilon (sigma/r)^power` over normal pairs, cut where the force field is.

    TorchMD's `RepulsionCG` has power 6, `Repulsion` power 12 (Doerr et al., J. Chem. Theory Comput. 2021, 17, 2355).

    Args:
        sigma: diameter of each atom, nm; pairs take the arithmetic mean.
        epsilon: strength of each atom, kJ/mol; pairs take the geometric mean.
        exception_atoms: pairs to leave out.
        power: exponent of the distance.
        cutoff: distance beyond which pairs do not interact; None for no cutoff.
    """

    translation_invariant = True

    def __init__(
        self,
        sigma: Float[Tensor, "atom"],
        epsilon: Float[Tensor, "atom"],
        exception_atoms: Int[Tensor, "exception 2"],
        power: Literal[6, 12] = 6,
        cutoff: Cutoff | None = None,
    ) -> None:
        self.sigma, self.epsilon, self.power, self.cutoff = sigma, epsilon, power, cutoff
        self.exception_atoms = exception_atoms
        self._pairs = normal_pairs(len(sigma), exception_atoms)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "PowerRepulsion":
        """The same repulsion on a device and in a precision."""
        sigma, epsilon = self.sigma.to(device, dtype), self.epsilon.to(device, dtype)
        return PowerRepulsion(sigma, epsilon, self.exception_atoms.to(device), self.power, self.cutoff)

    def energy(self, positions: Positions, cell: Cells | None = None) -> Energies:
        """Energy in kJ/mol."""
        distance = separations(positions, self._pairs, cell)
        sigma, epsilon = lorentz_berthelot(self.sigma[self._pairs], self.epsilon[self._pairs])
        energy = 4 * epsilon * (sigma / distance).pow(self.power)
        if self.cutoff is not None:
            energy = energy * (distance < self.cutoff.distance_nm)
        return energy.sum(-1)
