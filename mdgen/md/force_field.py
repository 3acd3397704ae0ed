"""The force field of one molecule as a `Potential`: the sum of its terms, differentiable in all it is given."""

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.md.forces import energy_and_forces
from mdgen.md.parameters import ForceFieldParameters
from mdgen.md.terms.angles import angle_energy
from mdgen.md.terms.bonds import bond_energy
from mdgen.md.terms.generalized_born import born_radii, polar_energy, surface_energy
from mdgen.md.terms.nonbonded import coulomb_energy, lennard_jones_energy, lorentz_berthelot
from mdgen.md.terms.pairs import all_pairs, normal_pairs, separations
from mdgen.md.terms.torsions import torsion_energy


class ForceField:
    """Energies and forces of one molecule, every replica at once.

    Args:
        parameters: the numbers; their precision and device are those of the positions to come. Where they require a
            gradient, the energies carry it.
    """

    def __init__(self, parameters: ForceFieldParameters) -> None:
        self.parameters = parameters
        device = parameters.masses.device
        self._pairs = all_pairs(parameters.n_atoms, device) if parameters.born is not None else None
        self._normal = normal_pairs(parameters.n_atoms, parameters.exception_atoms)

    def energy(
        self, positions: Float[Tensor, "replica atom 3"], cell: Float[Tensor, "replica 3"] | None = None
    ) -> Float[Tensor, "replica"]:
        """Potential energy in kJ/mol."""
        return torch.stack(tuple(self.energy_terms(positions, cell).values())).sum(0)

    def energy_terms(
        self, positions: Float[Tensor, "replica atom 3"], cell: Float[Tensor, "replica 3"] | None = None
    ) -> dict[str, Float[Tensor, "replica"]]:
        """Energy in kJ/mol of each term: bonds, angles, torsions, lennard_jones, coulomb, born, surface.

        Raises:
            MdgenError: if a cell is given; the terms here know no periodic box.
        """
        if cell is not None:
            raise MdgenError("a periodic cell was given, but this force field is not periodic; leave it out")
        p = self.parameters
        terms = {
            "bonds": bond_energy(positions, p.bond_atoms, p.bond_length, p.bond_k),
            "angles": angle_energy(positions, p.angle_atoms, p.angle_theta0, p.angle_k),
            "torsions": torsion_energy(positions, p.torsion_atoms, p.torsion_periodicity, p.torsion_phase, p.torsion_k),
        }
        return terms | self._nonbonded(positions) | self._solvation(positions)

    def energy_and_forces(
        self, positions: Float[Tensor, "replica atom 3"], cell: Float[Tensor, "replica 3"] | None = None
    ) -> tuple[Float[Tensor, "replica"], Float[Tensor, "replica atom 3"]]:
        """Energies in kJ/mol and forces in kJ/mol/nm, as `forces.energy_and_forces` gives them."""
        return energy_and_forces(self, positions, cell)

    def _nonbonded(self, positions: Tensor) -> dict[str, Tensor]:
        p = self.parameters
        normal = separations(positions, self._normal)
        exceptions = separations(positions, p.exception_atoms)
        sigma, epsilon = lorentz_berthelot(p.sigma[self._normal], p.epsilon[self._normal])
        charge_product = p.charges[self._normal].prod(-1)
        return {
            "lennard_jones": lennard_jones_energy(normal, sigma, epsilon)
            + lennard_jones_energy(exceptions, p.exception_sigma, p.exception_epsilon),
            "coulomb": coulomb_energy(normal, charge_product, p.coulomb_constant)
            + coulomb_energy(exceptions, p.exception_charge_product, p.coulomb_constant),
        }

    def _solvation(self, positions: Tensor) -> dict[str, Tensor]:
        p, pairs = self.parameters, self._pairs
        if p.born is None or pairs is None:
            return {}
        distance = separations(positions, pairs)
        radii = born_radii(distance, pairs, p.born)
        return {
            "born": polar_energy(distance, pairs, radii, p.charges, p.born, p.coulomb_constant),
            "surface": surface_energy(radii, p.born),
        }
