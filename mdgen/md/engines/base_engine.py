"""What all engines share: their settings, how they are checked, and how adaptive potentials are updated."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Integrator, State, System
from mdgen.md.dynamics.velocities import require_one_each

Precision = Literal["single", "double"]


class BaseEngine:
    """Checks that the engine has all that system and integrator need, and keeps their settings.

    Args:
        system: molecule, masses, potential, constraints.
        integrator: time step and temperatures.
        n_replicas: number of copies.
        precision: precision of positions and forces.
        pressure_bar: pressure of a barostat; None for constant volume.

    Raises:
        MdgenError: if the engine lacks something, or for a setting out of range.
    """

    name: ClassVar[str]

    def __init__(
        self,
        system: System,
        integrator: Integrator,
        n_replicas: int,
        precision: Precision,
        device: str = "cpu",
        pressure_bar: float | None = None,
    ) -> None:
        missing = self.lacks(system, integrator, device, pressure_bar)
        if missing is not None:
            raise MdgenError(f"engine={self.name} does not have {missing}; use engine=auto to let mdgen choose another")
        if n_replicas < 1:
            raise MdgenError(f"n_replicas is {n_replicas}, but must be 1 or more")
        if precision not in ("single", "double"):
            raise MdgenError(f"precision is {precision!r}, but must be one of single, double")
        require_one_each(integrator.temperature_K, n_replicas)
        self.n_replicas, self.precision, self.integrator = n_replicas, precision, integrator
        self.pressure_bar, self._shape = pressure_bar, (n_replicas, len(system.masses), 3)

    @classmethod
    def lacks(
        cls, system: System, integrator: Integrator, device: str = "cpu", pressure_bar: float | None = None
    ) -> str | None:
        """What the engine does not have of what is asked for, in words; None if it has everything."""
        raise NotImplementedError

    @property
    def timestep_ps(self) -> float:
        """Length of a step."""
        return self.integrator.timestep_ps

    @property
    def temperature_K(self) -> Float[Tensor, "temperature"]:
        """Temperature of each replica, or one for all, as the engine was made."""
        return self.integrator.temperature_K

    @property
    def settings(self) -> dict[str, Any]:
        """Engine, precision, pressure and integrator, as plain JSON."""
        pressure = {} if self.pressure_bar is None else {"pressure_bar": self.pressure_bar}
        return {"engine": self.name, "precision": self.precision, **pressure, **self.integrator.settings}

    @property
    def adaptive(self) -> bool:
        """Whether a potential changes between blocks of steps."""
        return False

    def update_potential(self, replicas: Sequence[int]) -> None:
        """Pass the present state of some replicas to the potentials that adapt; here there are none."""

    def _require_shape(self, state: State) -> None:
        if tuple(state.positions.shape) != self._shape or tuple(state.velocities.shape) != self._shape:
            raise MdgenError(
                f"a state of shape {tuple(state.positions.shape)} does not fit an engine of (replica, atom, 3) = "
                f"{self._shape}; make the engine for that molecule and number of replicas"
            )


def constant_volume(pressure_bar: float | None) -> str | None:
    """What an engine without a barostat lacks, in words."""
    if pressure_bar is None:
        return None
    return f"a barostat (pressure_bar is {pressure_bar}), since it runs at constant volume"


def generator_on(device: str, generator: torch.Generator) -> torch.Generator:
    """The generator, or one of another device seeded from it, so that no step waits for numbers from elsewhere."""
    if torch.device(device).type == generator.device.type:
        return generator
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    return torch.Generator(device).manual_seed(seed)
