"""Overdamped Langevin dynamics: positions alone, for coarse beads and for sampling without inertia."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.interfaces import Potential, State
from mdgen.md.constraints import DistanceConstraints
from mdgen.md.forces import energy_and_forces
from mdgen.md.integrators import require_not_negative, require_positive, temperatures_of
from mdgen.md.velocities import replica_temperatures
from mdgen.units import BOLTZMANN, FEMTOSECOND


@dataclass(frozen=True)
class OverdampedLangevin:
    """Brownian dynamics, `dx = F dt / (gamma m) + sqrt(2 kT dt / (gamma m)) dW`, by Euler and Maruyama.

    The same as OpenMM's `BrownianIntegrator` (Ermak and McCammon, J. Chem. Phys. 1978, 69, 1352): each atom diffuses
    with `kT / (gamma m)`. The state's velocities are the last displacements over the time step.

    Args:
        timestep_fs: length of a step; stable where `timestep < 2 gamma / omega^2` for the fastest vibration omega.
        temperature_K: one for all, or one a replica.
        friction_per_ps: how strongly motion is damped.
        constraints: distances that may not change; an engine sets them from the molecule.
    """

    timestep_fs: float
    temperature_K: float | Sequence[float]
    friction_per_ps: float = 91.0
    constraints: DistanceConstraints | None = None

    def __post_init__(self) -> None:
        require_positive("timestep_fs", self.timestep_fs)
        require_positive("friction_per_ps", self.friction_per_ps)
        given = self.temperatures
        for temperature in given if isinstance(given, list) else [given]:
            require_not_negative("temperature_K", temperature)

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
        x, dt = state.positions, self.timestep_ps
        _, forces = energy_and_forces(potential, x, state.cell)
        mobility = 1 / (self.friction_per_ps * masses[:, None])
        kT = BOLTZMANN * replica_temperatures(self.temperature_K, x)
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=generator.device)
        noise = noise.to(x.device)
        moved = x + dt * mobility * forces + (2 * dt * kT * mobility).sqrt() * noise
        if self.constraints is not None:
            moved = self.constraints.positions(x, moved)
        return replace(state, positions=moved, velocities=(moved - x) / dt, step=state.step + 1)
