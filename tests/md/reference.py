"""OpenMM's Reference platform, the independent code that the engine is held against."""

from functools import cache

import numpy as np
import openmm
import openmm.app
import torch
from openmm import unit

from mdgen.md.systems.build import MolecularSystem, build_system


@cache
def strained(sequence: str, force_field: str = "amber14", solvent: str = "obc2", constraints: str = "hbonds"):
    """A capped peptide as it comes from ideal coordinates, not relaxed: every term is far from its minimum."""
    return build_system(sequence, force_field=force_field, solvent=solvent, constraints=constraints, relax=False)


@cache
def alanine_dipeptide(constraints: str = "hbonds") -> MolecularSystem:
    """ACE-ALA-NME in vacuum, relaxed."""
    return build_system("A", solvent="vacuum", constraints=constraints)


def shaken(system: MolecularSystem, replicas: int = 2, amount_nm: float = 0.005, seed: int = 0) -> torch.Tensor:
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
