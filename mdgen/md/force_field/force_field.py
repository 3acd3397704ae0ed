"""The force field of one molecule as a `Potential`: the sum of its terms, differentiable in all it is given."""

from functools import cached_property

import openmm
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Cells, Energies, Positions, Potential
from mdgen.md.force_field.forces import energy_and_forces
from mdgen.md.force_field.neighbour_list import VerletList, verlet_list
from mdgen.md.force_field.openmm_potential import OpenMMPotential
from mdgen.md.force_field.parameters import Cutoff, ForceFieldParameters
from mdgen.md.force_field.terms.bonded import angle_energy, bond_energy, improper_energy, torsion_energy
from mdgen.md.force_field.terms.cmap import cmap_energy
from mdgen.md.force_field.terms.generalized_born import born_radii, polar_energy, surface_energy
from mdgen.md.force_field.terms.nonbonded import coulomb_energy, lennard_jones_energy, lorentz_berthelot
from mdgen.md.force_field.terms.pairs import all_pairs, normal_pairs, separations

_SKIN_NM = 0.1
_ALL_PAIRS = 400
"""Atoms up to which computing every pair beats keeping lists."""


class ForceField:
    """Energies and forces of one molecule or box, every replica at once.

    With a cutoff pairs come from a Verlet list, kept between calls and searched again when an atom has moved by half
    its skin; energies and forces do not depend on when. Up to 400 atoms a graph is made of every pair, which then costs
    less, and so are pairs in generalised Born.

    Args:
        parameters: numbers of the force field; their precision and device are those of the positions to come. Where
            they require a gradient, the energies carry it.
        openmm_system: the same force field as OpenMM holds it, which engine=openmm and comparisons with it need; None
            where there is none.
    """

    translation_invariant = True

    def __init__(self, parameters: ForceFieldParameters, openmm_system: openmm.System | None = None) -> None:
        self.parameters, self.openmm_system = parameters, openmm_system
        self._list: VerletList | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the parameters."""
        return self.parameters.fingerprint

    @property
    def not_computed(self) -> str | None:
        """What of it only OpenMM computes, in words; None if there is no such part."""
        cutoff = self.parameters.cutoff
        return "Ewald sums (PME)" if cutoff is not None and cutoff.ewald else None

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "ForceField":
        """The same force field on a device and in a precision."""
        return ForceField(self.parameters.to(device, dtype), self.openmm_system)

    def energy(self, positions: Positions, cell: Cells | None = None) -> Energies:
        """Potential energy in kJ/mol."""
        return torch.stack(tuple(self.energy_terms(positions, cell).values())).sum(0)

    def energy_terms(self, positions: Positions, cell: Cells | None = None) -> dict[str, Energies]:
        """Energy in kJ/mol of each term by its name.

        The names are bonds, angles, torsions, lennard_jones, coulomb, and those of impropers, cmap,
        dispersion_correction, born and surface that there are.

        Raises:
            MdgenError: if a cell is missing, smaller than twice the cutoff, or given to a force field without images,
                or for Ewald sums.
        """
        self._require_computed()
        self.require_cell(cell)
        return self._bonded(positions) | self._nonbonded(positions, cell) | self._solvation(positions)

    def _require_computed(self) -> None:
        if self.not_computed is not None:
            raise MdgenError(
                f"{self.not_computed} are computed by OpenMM alone; run this system with engine=openmm, or build it "
                "with long_range=reaction_field"
            )

    @cached_property
    def _pairs(self) -> Tensor:
        """Every pair, for generalised Born."""
        return all_pairs(self.parameters.n_atoms, self.parameters.masses.device)

    @cached_property
    def _normal(self) -> Tensor | None:
        """Every pair without numbers of its own; None where pairs come from a list."""
        p = self.parameters
        by_list = p.cutoff is not None and p.n_atoms > _ALL_PAIRS
        return None if by_list else normal_pairs(p.n_atoms, p.exception_atoms)

    def _bonded(self, positions: Tensor) -> dict[str, Tensor]:
        p = self.parameters
        terms = {
            "bonds": bond_energy(positions, p.bond_atoms, p.bond_length, p.bond_k),
            "angles": angle_energy(positions, p.angle_atoms, p.angle_theta0, p.angle_k),
            "torsions": torsion_energy(positions, p.torsion_atoms, p.torsion_periodicity, p.torsion_phase, p.torsion_k),
        }
        if p.impropers is not None:
            terms["impropers"] = improper_energy(positions, p.impropers.atoms, p.impropers.theta0, p.impropers.k)
        if p.cmap is not None:
            terms["cmap"] = cmap_energy(positions, p.cmap.atoms, p.cmap.which, p.cmap.energy)
        return terms

    def energy_and_forces(self, positions: Positions, cell: Cells | None = None) -> tuple[Energies, Positions]:
        """Energies in kJ/mol and forces in kJ/mol/nm, as `forces.energy_and_forces` gives them."""
        return energy_and_forces(self, positions, cell)

    def _nonbonded(self, positions: Tensor, cell: Tensor | None) -> dict[str, Tensor]:
        p = self.parameters
        pairs = self._normal_pairs(positions, cell)
        normal = separations(positions, pairs, cell)
        sigma, epsilon = self._sigma_and_epsilon(pairs)
        charge_product = p.charges[pairs].prod(-1)
        of_exceptions = self.exceptions(positions, cell)
        return of_exceptions | {
            "lennard_jones": lennard_jones_energy(normal, sigma, epsilon, p.cutoff) + of_exceptions["lennard_jones"],
            "coulomb": coulomb_energy(normal, charge_product, p.coulomb_constant, p.cutoff) + of_exceptions["coulomb"],
        }

    def exceptions(self, positions: Tensor, cell: Tensor | None) -> dict[str, Tensor]:
        """Pairs with numbers of their own, and what depends on the cell alone."""
        p = self.parameters
        distance = separations(positions, p.exception_atoms)
        terms = {
            "lennard_jones": lennard_jones_energy(distance, p.exception_sigma, p.exception_epsilon),
            "coulomb": coulomb_energy(distance, p.exception_charge_product, p.coulomb_constant),
        }
        if cell is not None and p.cutoff is not None and p.cutoff.dispersion_kJ_nm3:
            terms["dispersion_correction"] = p.cutoff.dispersion_kJ_nm3 / cell.prod(-1)
        return terms

    def _sigma_and_epsilon(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        table = self.parameters.pair_table
        if table is None:
            return lorentz_berthelot(self.parameters.sigma[pairs], self.parameters.epsilon[pairs])
        first, second = table.kind[pairs].unbind(-1)
        return table.sigma[first, second], table.epsilon[first, second]

    def _normal_pairs(self, positions: Tensor, cell: Tensor | None) -> Tensor:
        """Every pair of normal interaction, or those of the list, which is searched again where it has become stale."""
        if self._normal is not None:
            return self._normal
        cutoff, known = self.parameters.cutoff, self._list
        assert cutoff is not None
        if known is None or not bool(known.holds(positions.detach(), cell)):
            exceptions = self.parameters.exception_atoms
            self._list = known = verlet_list(positions, cell, cutoff.distance_nm, _SKIN_NM, exceptions)
        return known.pairs

    def require_cell(self, cell: Cells | None) -> None:
        """Raise unless there is a cell where the force field is periodic, and room in it for the cutoff.

        Raises:
            MdgenError: if a cell is missing, too small, or given to a force field without images.
        """
        cutoff = self.parameters.cutoff
        if cutoff is None or not cutoff.periodic:
            if cell is not None:
                raise MdgenError("a periodic cell was given, but this force field is not periodic; leave it out")
        elif cell is None:
            raise MdgenError("this force field is periodic, but no cell was given; give the edges of its box")
        else:
            require_room(cutoff, cell)

    def _solvation(self, positions: Tensor) -> dict[str, Tensor]:
        p = self.parameters
        if p.born is None:
            return {}
        pairs = self._pairs
        distance = separations(positions, pairs)
        radii = born_radii(distance, pairs, p.born, p.cutoff)
        return {
            "born": polar_energy(distance, pairs, radii, p.charges, p.born, p.coulomb_constant, p.cutoff),
            "surface": surface_energy(radii, p.born),
        }


def force_field_of(potential: Potential) -> ForceField:
    """A potential that is a force field and nothing more.

    Raises:
        MdgenError: for any other potential.
    """
    if isinstance(potential, ForceField):
        return potential
    if isinstance(potential, OpenMMPotential):
        raise MdgenError(
            f"this needs a force field of this package, but the system has {potential.not_computed}; take another "
            "system for it"
        )
    raise MdgenError(
        f"this needs a system whose energy is a force field alone, but its potential is a {type(potential).__name__}; "
        "leave out added potentials"
    )


def require_room(cutoff: Cutoff, cell: Float[Tensor, "*replica 3"]) -> None:
    """Raise unless every edge of the box is at least twice the cutoff, so that no atom sees two images of another.

    Raises:
        MdgenError: naming the shortest edge.
    """
    shortest = float(cell.min())
    if not 0 < 2 * cutoff.distance_nm <= shortest * (1 + 1e-6):
        raise MdgenError(
            f"the cutoff of {cutoff.distance_nm:g} nm is more than half of the box's shortest edge, {shortest:.4g} nm; "
            "take a shorter cutoff or a larger box"
        )
