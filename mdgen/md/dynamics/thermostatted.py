"""What Langevin and Brownian dynamics share: temperature, friction, and a step that takes one noise a coordinate."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Potential, State
from mdgen.md.dynamics.constraints import Constraints
from mdgen.md.dynamics.velocities import replica_temperatures
from mdgen.md.force_field.forces import energy_and_forces
from mdgen.units import BOLTZMANN, FEMTOSECOND


@dataclass(frozen=True)
class Thermostatted(ABC):
    """A stochastic integrator at a temperature; the methods that inherit it say how positions move.

    Args:
        timestep_fs: length of a step.
        temperature_K: one for all, or one a replica.
        friction_per_ps: rate at which motion is damped.
        constraints: distances that may not change; an engine sets them from the molecule.
    """

    timestep_fs: float
    temperature_K: float | Sequence[float]
    friction_per_ps: float = 1.0
    constraints: Constraints | None = None

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
        given = self.temperature_K
        return float(given) if isinstance(given, int | float) else [float(value) for value in given]

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
        x = state.positions
        kT = BOLTZMANN * replica_temperatures(self.temperature_K, x)
        noise = standard_normal(x, generator)
        positions, velocities = self.moved(
            x, state.velocities, masses, lambda at: energy_and_forces(potential, at, state.cell)[1], noise, kT
        )
        return replace(state, positions=positions, velocities=velocities, step=state.step + 1)

    @abstractmethod
    def moved(
        self,
        positions: Float[Tensor, "replica atom 3"],
        velocities: Float[Tensor, "replica atom 3"],
        masses: Float[Tensor, "atom"],
        forces: Callable[[Tensor], Tensor],
        noise: Float[Tensor, "replica atom 3"],
        kT: Float[Tensor, "replica 1 1"],
    ) -> tuple[Float[Tensor, "replica atom 3"], Float[Tensor, "replica atom 3"]]:
        """Positions and velocities after a step; nothing in it depends on a value, so that it can be compiled.

        Args:
            positions: nm.
            velocities: nm/ps.
            masses: amu.
            forces: from positions, kJ/mol/nm.
            noise: independent standard normal numbers.
            kT: kJ/mol.
        """


def standard_normal(
    like: Float[Tensor, "replica atom 3"], generator: torch.Generator
) -> Float[Tensor, "replica atom 3"]:
    """One normal number for every coordinate, drawn where the generator is."""
    noise = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=generator.device)
    return noise.to(like.device)


def require_positive(name: str, value: float) -> None:
    """Raise unless a setting is a positive number."""
    if not 0 < value < float("inf"):
        raise MdgenError(f"{name} is {value}, but must be a positive number")


def require_not_negative(name: str, value: float) -> None:
    """Raise unless a setting is zero or a positive number."""
    if not 0 <= value < float("inf"):
        raise MdgenError(f"{name} is {value}, but must be zero or a positive number")
