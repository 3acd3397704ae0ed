"""Velocity Verlet and Langevin dynamics, with constraints, and what all integrators share.

Frozen physical settings; a step is made of visible parts, each vectorised over replicas.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from math import exp
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import State, System
from mdgen.md.dynamics.velocities import replica_temperatures, standard_normal
from mdgen.md.force_field.forces import energy_and_forces
from mdgen.registry import register
from mdgen.units import BOLTZMANN, FEMTOSECOND

Temperatures = float | Sequence[float] | Tensor
"""What constructors accept, since configs hold numbers and lists; inside there are tensors only."""


@dataclass(frozen=True, eq=False, init=False)
class TimeStep:
    """A time step, and the temperature of each replica.

    Args:
        timestep_fs: length of a step.
        temperature_K: one temperature for all replicas, or one for each.

    Raises:
        MdgenError: for a number out of range.
    """

    timestep_fs: float
    temperature_K: Float[Tensor, "replica"]

    def __init__(self, timestep_fs: float, temperature_K: Temperatures = 300.0) -> None:
        require_positive("timestep_fs", timestep_fs)
        object.__setattr__(self, "timestep_fs", timestep_fs)
        object.__setattr__(self, "temperature_K", _tensor(temperature_K))

    @property
    def timestep_ps(self) -> float:
        """Length of a step in ps."""
        return self.timestep_fs * FEMTOSECOND

    @property
    def settings(self) -> dict[str, Any]:
        """What a run must keep to be the same run, as plain JSON."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        plain = {name: value.tolist() if isinstance(value, Tensor) else value for name, value in own.items()}
        return {"integrator": type(self).__name__, **plain}


@dataclass(frozen=True, eq=False, init=False)
class Thermostatted(TimeStep):
    """A stochastic integrator, which holds a temperature by friction and noise."""

    friction_per_ps: float

    def __init__(self, timestep_fs: float, temperature_K: Temperatures, friction_per_ps: float = 1.0) -> None:
        super().__init__(timestep_fs, temperature_K)
        require_not_negative("friction_per_ps", friction_per_ps)
        object.__setattr__(self, "friction_per_ps", friction_per_ps)

    def at_temperature(self, temperature_K: Float[Tensor, "replica"]) -> Self:
        """The same integrator at other temperatures."""
        return replace(self, temperature_K=temperature_K)


def _tensor(temperature_K: Temperatures) -> Float[Tensor, "replica"]:
    try:
        given = torch.as_tensor(temperature_K, dtype=torch.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise MdgenError(f"temperature_K is {temperature_K!r}, but must be a number or a list of numbers") from error
    for value in given.tolist():
        require_not_negative("temperature_K", value)
    if len(given) == 0:
        raise MdgenError("temperature_K is an empty list; give one temperature, or one a replica")
    return given


def require_positive(name: str, value: float) -> None:
    """Raise unless a setting is a positive number."""
    if not 0 < value < float("inf"):
        raise MdgenError(f"{name} is {value}, but must be a positive number")


def require_not_negative(name: str, value: float) -> None:
    """Raise unless a setting is zero or a positive number."""
    if not 0 <= value < float("inf"):
        raise MdgenError(f"{name} is {value}, but must be zero or a positive number")


@register
class VelocityVerlet(TimeStep):
    """Newton's equations, symplectic and of second order (Swope et al., J. Chem. Phys. 1982, 76, 637).

    Constraints are met as in RATTLE (Andersen, J. Comput. Phys. 1983, 52, 24). Each step computes the forces at both
    its ends and keeps none from a former step, so that a state that was changed by hand never meets outdated forces.

    The torch engine runs it as it stands. The compiled kernels and OpenMM run leapfrog, which is Langevin dynamics
    without friction: the same map for positions, with velocities of half a step before.

    Args:
        timestep_fs: length of a step.
        temperature_K: temperature of the velocities that a run starts with, one for all replicas or one for each; it
            is not controlled afterwards.
    """

    @property
    def friction_per_ps(self) -> float:
        """Zero, for engines that run it as Langevin dynamics without friction."""
        return 0.0

    @property
    def settings(self) -> dict[str, Any]:
        """As of every integrator; the temperature as `initial_temperature_K`, for no trajectory is held at it."""
        own = super().settings
        return {"initial_temperature_K": own.pop("temperature_K"), **own}

    def at_temperature(self, temperature_K: Float[Tensor, "replica"]) -> Self:
        """Refused, since nothing holds the temperature.

        Raises:
            MdgenError: always.
        """
        raise MdgenError("integrator=verlet has no thermostat; use integrator=langevin")

    def step(self, state: State, system: System, generator: torch.Generator) -> State:
        """Half a kick, a drift, half a kick; no random number is drawn."""
        dt, inverse, held = self.timestep_ps, 1 / system.masses[:, None], system.constraints
        _, forces = energy_and_forces(system.potential, state.positions, state.cell)
        velocities = state.velocities + 0.5 * dt * inverse * forces
        positions = state.positions + dt * velocities
        if held is not None:
            met = held.positions(state.positions, positions)
            velocities, positions = velocities + (met - positions) / dt, met
        _, forces = energy_and_forces(system.potential, positions, state.cell)
        velocities = velocities + 0.5 * dt * inverse * forces
        if held is not None:
            velocities = held.velocities(positions, velocities)
        return replace(state, positions=positions, velocities=velocities, step=state.step + 1)


@register
class Langevin(Thermostatted):
    """Langevin dynamics by the LFMiddle scheme (Zhang et al., J. Phys. Chem. A 2019, 123, 6056).

    The same as OpenMM's `LangevinMiddleIntegrator`: a kick, half a drift, friction with noise, half a drift. Positions
    sample the canonical distribution to higher order in the time step than in other splittings; velocities are those
    of the half step. Friction 0 leaves the leapfrog scheme.

    Args:
        timestep_fs: length of a step.
        temperature_K: one temperature for all replicas, or one for each.
        friction_per_ps: rate at which velocities decorrelate; 1 is usual in implicit solvent, 91 is water's.
    """

    def step(self, state: State, system: System, generator: torch.Generator) -> State:
        """Positions after a step, and velocities at its middle; one normal number is drawn for every coordinate."""
        dt, inverse, held, start = self.timestep_ps, 1 / system.masses[:, None], system.constraints, state.positions
        kT = BOLTZMANN * replica_temperatures(self.temperature_K, start)
        noise = standard_normal(start, generator)
        velocities = state.velocities + dt * inverse * energy_and_forces(system.potential, start, state.cell)[1]
        if held is not None:
            velocities = held.velocities(start, velocities)
        positions = start + 0.5 * dt * velocities
        kept = exp(-self.friction_per_ps * dt)
        velocities = kept * velocities + ((1 - kept**2) * kT * inverse).sqrt() * noise
        positions = positions + 0.5 * dt * velocities
        if held is not None:
            met = held.positions(start, positions)
            velocities, positions = velocities + (met - positions) / dt, met
        return replace(state, positions=positions, velocities=velocities, step=state.step + 1)
