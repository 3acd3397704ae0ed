"""Whatever an `openmm.System` computes as a `Potential`, for what only OpenMM has."""

from functools import cached_property
from hashlib import sha256

import numpy as np
import openmm
import torch
from jaxtyping import Float
from openmm import unit
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Cells, Energies, Positions

_INVARIANT = (
    *("HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "RBTorsionForce", "CMAPTorsionForce"),
    *("NonbondedForce", "GBSAOBCForce", "CustomGBForce", "CustomBondForce", "CustomAngleForce", "CustomTorsionForce"),
    *("CustomNonbondedForce", "CMMotionRemover"),
)
"""Forces of OpenMM that do not change where everything is shifted; others may, by what they are given."""


class OpenMMPotential:
    """Energy of an `openmm.System` of any forces and particles; `engine=openmm` alone moves it.

    Args:
        openmm_system: the forces; not to be changed afterwards.
        because: what of them only OpenMM computes, where that is known.
    """

    def __init__(self, openmm_system: openmm.System, because: str | None = None) -> None:
        self.openmm_system = openmm_system
        self.not_computed = "the forces of an openmm.System, which OpenMM alone computes"
        if because is not None:
            self.not_computed += f" ({because})"

    @cached_property
    def translation_invariant(self) -> bool:
        """Whether every force is one that asks for no place in space, and no atom is frozen."""
        system = self.openmm_system
        frozen = any(
            not system.isVirtualSite(atom) and system.getParticleMass(atom)._value == 0
            for atom in range(system.getNumParticles())
        )
        return not frozen and all(type(force).__name__ in _INVARIANT for force in system.getForces())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the system as OpenMM writes it."""
        return sha256(openmm.XmlSerializer.serialize(self.openmm_system).encode()).hexdigest()

    @cached_property
    def _context(self) -> openmm.Context:
        reference = openmm.Platform.getPlatformByName("Reference")
        try:
            return openmm.Context(self.openmm_system, openmm.VerletIntegrator(0.001), reference)
        except openmm.OpenMMException as error:
            raise MdgenError(f"OpenMM cannot use the system ({' '.join(str(error).split())}); mend it") from error

    def energy(self, positions: Positions, cell: Cells | None = None) -> Energies:
        """Potential energy in kJ/mol by OpenMM's Reference platform, without a gradient.

        Virtual sites are taken where they are given. Without a cell the box is the system's own.
        """
        return self.attached_energy_and_forces(positions, cell)[0]

    def attached_energy_and_forces(self, positions: Positions, cell: Cells | None = None) -> tuple[Energies, Positions]:
        """Energies in kJ/mol and forces in kJ/mol/nm by OpenMM's Reference platform, neither with a gradient."""
        energies, forces = [], np.empty(positions.shape)
        for replica, x in enumerate(positions.detach().cpu().double().numpy()):
            if cell is not None:
                self._context.setPeriodicBoxVectors(*np.diag(cell[replica].detach().cpu().double().numpy()))
            self._context.setPositions(x)
            found = self._context.getState(getEnergy=True, getForces=True)
            energies.append(found.getPotentialEnergy()._value)
            forces[replica] = found.getForces(asNumpy=True)._value
        return torch.tensor(energies, dtype=torch.float64).to(positions), torch.from_numpy(forces).to(positions)

    def with_virtual_sites(self, positions: Float[Tensor, "atom 3"]) -> Float[Tensor, "atom 3"]:
        """Positions in nm with virtual sites where the atoms around them say."""
        self._context.setPositions(positions.detach().cpu().double().numpy())
        self._context.computeVirtualSites()
        found = self._context.getState(getPositions=True).getPositions(asNumpy=True)
        return torch.from_numpy(np.array(found.value_in_unit(unit.nanometer))).to(positions)
