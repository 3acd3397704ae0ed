"""Boxes for the kernel's tests, and kernels at a temperature."""

from functools import cache

import openmm
import torch

from mdgen.md.dynamics.constraints import DistanceConstraints
from mdgen.md.dynamics.minimize import minimize
from mdgen.md.dynamics.velocities import maxwell_boltzmann
from mdgen.md.engines.lanes.box.box_kernel import BoxKernel
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.md.systems.openmm_systems.openmm_loader import box_edges, load_openmm_system
from tests.md.water import water_box

CONDUCTOR = 1e9
"""A dielectric beyond the cutoff that makes forces continuous there."""


@cache
def water(
    rigid: bool = True, switch_nm: float | None = 0.55, edge_nm: float = 1.4
) -> tuple[openmm.System, ForceFieldParameters, torch.Tensor, torch.Tensor]:
    """About ninety waters, relaxed: the system, its parameters, edges (1, 3) and positions (1, atom, 3)."""
    system, _, x = water_box(edge_nm, 0.65, switch_nm, rigid)
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    nonbonded.setReactionFieldDielectric(CONDUCTOR)
    parameters, edges = load_openmm_system(system), box_edges(system)
    assert edges is not None
    held = DistanceConstraints(parameters.masses, parameters.constraint_atoms, parameters.constraint_length, 1e-12)
    x = minimize(ForceField(parameters), x, force_tolerance=300.0, max_iterations=60, cell=edges[None]).positions
    return system, parameters, edges[None], held.positions(x, x)


def kernel_at(
    replicas: int,
    temperature_K: float | torch.Tensor = 300.0,
    friction_per_ps: float = 1.0,
    timestep_ps: float = 0.002,
    precision: str = "single",
    threads: int = 1,
    rigid: bool = True,
    start_K: float = 300.0,
) -> BoxKernel:
    """A box of water started with velocities that each replica draws for itself."""
    _, parameters, cell, x = water(rigid)
    generator = torch.Generator().manual_seed(0)
    kernel = BoxKernel(parameters, replicas, timestep_ps, temperature_K, friction_per_ps, generator, precision, threads)
    held = DistanceConstraints(parameters.masses, parameters.constraint_atoms, parameters.constraint_length, 1e-12)
    draws = [torch.Generator().manual_seed(1000 + replica) for replica in range(replicas)]
    velocities = [maxwell_boltzmann(x, parameters.masses, torch.tensor([start_K]), draw, held) for draw in draws]
    kernel.set_state(x.expand(replicas, -1, -1), torch.cat(velocities), cell.expand(replicas, 3))
    return kernel
