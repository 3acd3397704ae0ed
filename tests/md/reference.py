"""OpenMM's Reference platform, the independent code that the engine is held against."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import openmm
import openmm.app
import torch
from jaxtyping import Float
from openmm import unit
from torch import Tensor

from mdgen.interfaces import Constraints, Potential, System
from mdgen.md.systems.build import build_system
from mdgen.molecule.topology import Molecule
from mdgen.units import BOLTZMANN


@cache
def openmm_force_field(*files: str) -> openmm.app.ForceField:
    """OpenMM's XML files, read once: that takes longer than all else of a small system."""
    return openmm.app.ForceField(*files)


@cache
def strained(sequence: str, force_field: str = "amber14", solvent: str = "obc2", constraints: str = "hbonds"):
    """A capped peptide as it comes from ideal coordinates, not relaxed: every term is far from its minimum."""
    return build_system(
        sequence,
        force_field=force_field,
        solvent=solvent,
        constraints=constraints,
        hydrogen_mass_amu=None,
        relax=False,
    )


@cache
def alanine_dipeptide(constraints: str = "hbonds") -> System:
    """ACE-ALA-NME in vacuum, relaxed."""
    return build_system("A", force_field="amber14", hydrogen_mass_amu=None, solvent="vacuum", constraints=constraints)


def particles(
    potential: Potential, masses: Sequence[float] = (10.0,) * 4, constraints: Constraints | None = None
) -> System:
    """Particles at the origin in a potential."""
    mass = torch.tensor(masses, dtype=torch.float64)
    molecule = Molecule.particles([f"P{index}" for index in range(len(mass))])
    return System(molecule, mass, potential, torch.zeros(len(mass), 3, dtype=torch.float64), constraints)


class Springs:
    """Every atom on a spring to the origin."""

    fingerprint = "springs"

    def __init__(self, k: float) -> None:
        self.k = k

    def energy(self, positions: torch.Tensor, cell: torch.Tensor | None = None) -> torch.Tensor:
        return 0.5 * self.k * positions.square().sum((1, 2))


def shaken(system: System, replicas: int = 2, amount_nm: float = 0.005, seed: int = 0) -> torch.Tensor:
    """Replicas with every atom moved at random."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(replicas, *system.positions.shape, generator=generator, dtype=torch.float64)
    return system.positions + amount_nm * noise


def openmm_energies_and_forces(system: openmm.System, positions: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Energy of each force by its name (kJ/mol) and the forces (kJ/mol/nm), in double precision."""
    system = openmm.XmlSerializer.clone(system)
    for group, force in enumerate(system.getForces()):
        force.setForceGroup(group)
    integrator = openmm.VerletIntegrator(0.001)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    forces = context.getState(getForces=True).getForces(asNumpy=True)
    energies: dict[str, float] = {}
    for group, force in enumerate(system.getForces()):
        energy = context.getState(getEnergy=True, groups={group}).getPotentialEnergy()
        name = type(force).__name__
        energies[name] = energies.get(name, 0.0) + energy.value_in_unit(unit.kilojoule_per_mole)
    return energies, forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer)


def kinetic_temperature(
    velocities: Float[Tensor, "replica atom 3"], masses: Float[Tensor, "atom"], n_constraints: int = 0
) -> Float[Tensor, "replica"]:
    """Temperature in K that the kinetic energy amounts to: `2 K / (kB (3 N - n_constraints))`."""
    kinetic = 0.5 * (masses[:, None] * velocities.square()).sum((-1, -2))
    return 2 * kinetic / (BOLTZMANN * (velocities[0].numel() - n_constraints))
