"""Molecules for the kernels' tests, and kernels at a temperature."""

from dataclasses import replace
from functools import cache

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from mdgen.interfaces import System
from mdgen.md.dynamics.constraints import DistanceConstraints
from mdgen.md.dynamics.openmm_minimize import minimized_by_openmm
from mdgen.md.dynamics.velocities import maxwell_boltzmann
from mdgen.md.engines.lanes.lane_kernel import LaneKernel
from mdgen.md.engines.lanes.molecule.molecule_kernel import MoleculeKernel
from mdgen.md.engines.lanes.replicas.replica_kernel import ReplicaKernel
from mdgen.md.systems.build import build_system
from mdgen.units import BOLTZMANN

both_kernels = pytest.mark.parametrize("kind", [ReplicaKernel, MoleculeKernel])


@cache
def peptide(
    sequence: str = "A",
    solvent: str = "obc2",
    constraints: str = "hbonds",
    hydrogen_mass_amu: float | None = None,
    force_field: str = "amber14",
    salt_kappa_per_nm: float = 0.0,
) -> System:
    """A capped peptide, relaxed; one of several residues by OpenMM, in vacuum and once for all implicit solvents."""

    def built(solvent: str, constraints: str, relax: bool = False) -> System:
        return build_system(
            sequence,
            force_field=force_field,
            solvent=solvent,
            constraints=constraints,
            hydrogen_mass_amu=hydrogen_mass_amu,
            salt_kappa_per_nm=salt_kappa_per_nm,
            relax=relax,
        )

    if len(sequence) == 1:
        return built(solvent, constraints, relax=True)
    start = ("vacuum" if solvent == "vacuum" else "obc2"), "hbonds"
    if (solvent, constraints, salt_kappa_per_nm) == (*start, 0.0):
        system = built(solvent, constraints)
        return replace(system, positions=minimized_by_openmm(system.potential.openmm_system, system.positions))
    relaxed = peptide(sequence, *start, force_field=force_field)
    return replace(built(solvent, constraints), positions=relaxed.positions)


def kernel_at(
    system: System,
    replicas: int,
    temperature_K: float = 300.0,
    friction_per_ps: float = 1.0,
    timestep_ps: float = 0.002,
    precision: str = "single",
    seed: int = 0,
    threads: int = 1,
    kind: type[LaneKernel] = ReplicaKernel,
) -> LaneKernel:
    """A kernel started from the relaxed molecule with velocities of 300 K."""
    parameters = system.potential.parameters
    generator = torch.Generator().manual_seed(seed)
    kernel = kind(parameters, replicas, timestep_ps, temperature_K, friction_per_ps, generator, precision, threads)
    constraints = DistanceConstraints(
        parameters.masses, parameters.constraint_atoms, parameters.constraint_length, tolerance=1e-12
    )
    # Each replica draws its own velocities, so that a replica does not depend on how many there are.
    positions = system.positions.expand(replicas, -1, -1)
    draws = [torch.Generator().manual_seed(1000 * (seed + 1) + replica) for replica in range(replicas)]
    velocities = [
        maxwell_boltzmann(positions[:1], parameters.masses, torch.tensor([300.0]), draw, constraints) for draw in draws
    ]
    kernel.set_state(positions, torch.cat(velocities))
    return kernel


def openmm_path(system, kernel, friction_per_ps: float, temperature_K: float, steps: int) -> np.ndarray:
    """Positions of each replica after `steps` of OpenMM's LangevinMiddleIntegrator in double precision."""
    integrator = openmm.LangevinMiddleIntegrator(temperature_K, friction_per_ps, kernel.timestep_ps)
    integrator.setConstraintTolerance(1e-10)
    context = openmm.Context(system.potential.openmm_system, integrator, openmm.Platform.getPlatformByName("Reference"))
    paths = []
    for positions, velocities in zip(kernel.positions(), kernel.velocities(), strict=True):
        context.setPositions(positions)
        context.setVelocities(velocities)
        integrator.step(steps)
        paths.append(context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer))
    return np.stack(paths)


def degrees_of_freedom(system: System) -> int:
    """Of one replica, its centre of mass included."""
    return 3 * system.potential.parameters.n_atoms - len(system.potential.parameters.constraint_atoms)


def kinetic_energy(system: System, velocities: np.ndarray) -> np.ndarray:
    """Of each replica, in kJ/mol."""
    return 0.5 * np.einsum("a,rax->r", system.potential.parameters.masses.numpy(), velocities.astype(np.float64) ** 2)


def kinetic_temperature(system: System, velocities: np.ndarray) -> np.ndarray:
    """Of each replica, in K."""
    return 2 * kinetic_energy(system, velocities) / (BOLTZMANN * degrees_of_freedom(system))


def bond_errors(system: System, positions: np.ndarray) -> np.ndarray:
    """Relative errors of the constrained lengths."""
    first, second = system.potential.parameters.constraint_atoms.numpy().T
    lengths = np.linalg.norm(positions[:, first].astype(np.float64) - positions[:, second], axis=-1)
    return np.abs(lengths / system.potential.parameters.constraint_length.numpy() - 1)
