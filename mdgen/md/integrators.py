"""Velocity Verlet and Langevin dynamics, with constraints.

Frozen physical settings; a step is made of visible parts, each vectorised over replicas.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Potential, State
from mdgen.md.constraints import DistanceConstraints
from mdgen.md.forces import energy_and_forces
from mdgen.md.velocities import replica_temperatures
from mdgen.units import BOLTZMANN, FEMTOSECOND


@dataclass(frozen=True)
class VelocityVerlet:
    """Newton's equations, symplectic and of second order (Swope et al., J. Chem. Phys. 1982, 76, 637).

    Constraints are met as in RATTLE (Andersen, J. Comput. Phys. 1983, 52, 24). Each step computes the forces at both
    its ends, and keeps none from a former step: a state that was changed by hand can never meet stale forces.

    Args:
        timestep_fs: length of a step.
        constraints: distances that may not change; an engine sets them from the molecule.
    """

    timestep_fs: float
    constraints: DistanceConstraints | None = None

    def __post_init__(self) -> None:
        require_positive("timestep_fs", self.timestep_fs)

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


@dataclass(frozen=True)
class Langevin:
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

    timestep_fs: float
    temperature_K: float | Sequence[float]
    friction_per_ps: float = 1.0
    constraints: DistanceConstraints | None = None

    def __post_init__(self) -> None:
        require_positive("timestep_fs", self.timestep_fs)
        for temperature in [self.temperature_K] if isinstance(self.temperature_K, int | float) else self.temperature_K:
            require_not_negative("temperature_K", temperature)
        require_not_negative("friction_per_ps", self.friction_per_ps)

    @property
    def timestep_ps(self) -> float:
        """Length of a step in ps."""
        return self.timestep_fs * FEMTOSECOND

    @property
    def temperatures(self) -> float | list[float]:
        """The temperature in K of all replicas, or a list of one each."""
        return temperatures_of(self.temperature_K)

    @property
    def settings(self) -> dict[str, str | float | list[float]]:
        """What a run must keep to be the same run."""
        return {
            "integrator": type(self).__name__,
            "timestep_fs": self.timestep_fs,
            "temperature_K": self.temperatures,
            "friction_per_ps": self.friction_per_ps,
        }

    def step(
        self, state: State, masses: Float[Tensor, "atom"], potential: Potential, generator: torch.Generator
    ) -> State:
        """One time step of every replica; one normal number is drawn for every coordinate."""
        dt, inverse = self.timestep_ps, 1 / masses[:, None]
        _, forces = energy_and_forces(potential, state.positions, state.cell)
        velocities = state.velocities + dt * inverse * forces
        if self.constraints is not None:
            velocities = self.constraints.velocities(state.positions, velocities)
        positions = state.positions + 0.5 * dt * velocities
        kept = exp(-self.friction_per_ps * dt)
        kT = BOLTZMANN * replica_temperatures(self.temperature_K, positions)
        noise = torch.randn(positions.shape, generator=generator, dtype=positions.dtype, device=generator.device).to(
            positions.device
        )
        velocities = kept * velocities + ((1 - kept**2) * kT * inverse).sqrt() * noise
        positions = positions + 0.5 * dt * velocities
        if self.constraints is not None:
            met = self.constraints.positions(state.positions, positions)
            velocities, positions = velocities + (met - positions) / dt, met
        return replace(state, positions=positions, velocities=velocities, step=state.step + 1)


def temperatures_of(temperature_K: float | Sequence[float]) -> float | list[float]:
    """One temperature in K, or a list of one a replica."""
    given = temperature_K
    return float(given) if isinstance(given, int | float) else [float(value) for value in given]


def require_positive(name: str, value: float) -> None:
    """Raise unless a setting is a positive number."""
    if not 0 < value < float("inf"):
        raise MdgenError(f"{name} is {value}, but must be a positive number")


def require_not_negative(name: str, value: float) -> None:
    """Raise unless a setting is zero or a positive number."""
    if not 0 <= value < float("inf"):
        raise MdgenError(f"{name} is {value}, but must be zero or a positive number")
