"""Velocity Verlet and Langevin dynamics, with constraints.

Frozen physical settings; a step is made of visible parts, each vectorised over replicas.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.interfaces import Potential, State
from mdgen.md.dynamics.constraints import Constraints
from mdgen.md.dynamics.thermostatted import Thermostatted, require_not_negative, require_positive
from mdgen.md.force_field.forces import energy_and_forces
from mdgen.registry import register
from mdgen.units import FEMTOSECOND


@register
@dataclass(frozen=True)
class VelocityVerlet:
    """Newton's equations, symplectic and of second order (Swope et al., J. Chem. Phys. 1982, 76, 637).

    Constraints are met as in RATTLE (Andersen, J. Comput. Phys. 1983, 52, 24). Each step computes the forces at both
    its ends, and keeps none from a former step: a state that was changed by hand can never meet stale forces.

    The torch engine runs it as it stands. The compiled kernels and OpenMM run leapfrog, which is Langevin dynamics
    without friction: the same map for positions, with velocities of half a step before.

    Args:
        timestep_fs: length of a step.
        constraints: distances that may not change; an engine sets them from the molecule.
        temperature_K: of the velocities that a run starts with, one for all or one a replica; nothing holds it later.
    """

    timestep_fs: float
    constraints: Constraints | None = None
    temperature_K: float | Sequence[float] = 300.0

    def __post_init__(self) -> None:
        require_positive("timestep_fs", self.timestep_fs)
        for temperature in [self.temperature_K] if isinstance(self.temperature_K, int | float) else self.temperature_K:
            require_not_negative("temperature_K", temperature)

    @property
    def friction_per_ps(self) -> float:
        """None: 0."""
        return 0.0

    @property
    def temperatures(self) -> float | list[float]:
        """The temperature in K that all replicas start with, or a list of one each."""
        given = self.temperature_K
        return float(given) if isinstance(given, int | float) else [float(value) for value in given]

    @property
    def settings(self) -> dict[str, str | float | list[float]]:
        """What a run must keep to be the same run."""
        return {
            "integrator": "VelocityVerlet",
            "timestep_fs": self.timestep_fs,
            "temperature_K": self.temperatures,
        }

    @property
    def timestep_ps(self) -> float:
        """Length of a step in ps."""
        return self.timestep_fs * FEMTOSECOND

    def step(
        self, state: State, masses: Float[Tensor, "atom"], potential: Potential, generator: torch.Generator
    ) -> State:
        """Half a kick, a drift, half a kick; nothing is drawn."""
        dt, inverse = self.timestep_ps, 1 / masses[:, None]
        _, forces = energy_and_forces(potential, state.positions, state.cell)
        velocities = state.velocities + 0.5 * dt * inverse * forces
        positions = state.positions + dt * velocities
        if self.constraints is not None:
            met = self.constraints.positions(state.positions, positions)
            velocities, positions = velocities + (met - positions) / dt, met
        _, forces = energy_and_forces(potential, positions, state.cell)
        velocities = velocities + 0.5 * dt * inverse * forces
        if self.constraints is not None:
            velocities = self.constraints.velocities(positions, velocities)
        return replace(state, positions=positions, velocities=velocities, step=state.step + 1)


@register
@dataclass(frozen=True)
class Langevin(Thermostatted):
    """Langevin dynamics by the LFMiddle scheme (Zhang et al., J. Phys. Chem. A 2019, 123, 6056).

    The same as OpenMM's `LangevinMiddleIntegrator`: a kick, half a drift, friction with noise, half a drift. Positions
    sample the canonical distribution to higher order in the time step than in other splittings; velocities are those
    of the half step. Friction 0 leaves the leapfrog scheme.

    Args:
        timestep_fs: length of a step.
        temperature_K: one for all, or one a replica.
        friction_per_ps: rate at which velocities forget; 1 is usual in implicit solvent, 91 is water's.
        constraints: distances that may not change; an engine sets them from the molecule.
    """

    def moved(
        self,
        positions: Float[Tensor, "replica atom 3"],
        velocities: Float[Tensor, "replica atom 3"],
        masses: Float[Tensor, "atom"],
        forces: Callable[[Tensor], Tensor],
        noise: Float[Tensor, "replica atom 3"],
        kT: Float[Tensor, "replica 1 1"],
    ) -> tuple[Float[Tensor, "replica atom 3"], Float[Tensor, "replica atom 3"]]:
        """Positions after a step, and velocities at its middle."""
        dt, inverse, start = self.timestep_ps, 1 / masses[:, None], positions
        velocities = velocities + dt * inverse * forces(start)
        if self.constraints is not None:
            velocities = self.constraints.velocities(start, velocities)
        positions = start + 0.5 * dt * velocities
        kept = exp(-self.friction_per_ps * dt)
        velocities = kept * velocities + ((1 - kept**2) * kT * inverse).sqrt() * noise
        positions = positions + 0.5 * dt * velocities
        if self.constraints is not None:
            met = self.constraints.positions(start, positions)
            velocities, positions = velocities + (met - positions) / dt, met
        return positions, velocities
