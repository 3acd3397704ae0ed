"""Overdamped Langevin dynamics: positions alone, for coarse beads and for sampling without inertia."""

from dataclasses import replace

import torch

from mdgen.interfaces import State, System
from mdgen.md.dynamics.integrators import Temperatures, Thermostatted, require_positive
from mdgen.md.dynamics.velocities import replica_temperatures, standard_normal
from mdgen.md.force_field.forces import energy_and_forces
from mdgen.registry import register
from mdgen.units import BOLTZMANN


@register
class OverdampedLangevin(Thermostatted):
    """Brownian dynamics, `dx = F dt / (gamma m) + sqrt(2 kT dt / (gamma m)) dW`, by Euler and Maruyama.

    The same as OpenMM's `BrownianIntegrator` (Ermak and McCammon, J. Chem. Phys. 1978, 69, 1352): each atom diffuses
    with `kT / (gamma m)`. The state's velocities are the last displacements over the time step.

    Args:
        timestep_fs: length of a step; stable where `timestep < 2 gamma / omega^2` for the fastest vibration omega.
        temperature_K: one temperature for all replicas, or one for each.
        friction_per_ps: rate at which motion is damped.
    """

    def __init__(self, timestep_fs: float, temperature_K: Temperatures, friction_per_ps: float = 91.0) -> None:
        super().__init__(timestep_fs, temperature_K, friction_per_ps)
        require_positive("friction_per_ps", self.friction_per_ps)

    def step(self, state: State, system: System, generator: torch.Generator) -> State:
        """Positions after a step; former velocities have no effect. One normal number is drawn for every coordinate."""
        x, dt = state.positions, self.timestep_ps
        kT = BOLTZMANN * replica_temperatures(self.temperature_K, x)
        noise = standard_normal(x, generator)
        mobility = 1 / (self.friction_per_ps * system.masses[:, None])
        forces = energy_and_forces(system.potential, x, state.cell)[1]
        moved = x + dt * mobility * forces + (2 * dt * kT * mobility).sqrt() * noise
        if system.constraints is not None:
            moved = system.constraints.positions(x, moved)
        return replace(state, positions=moved, velocities=(moved - x) / dt, step=state.step + 1)
