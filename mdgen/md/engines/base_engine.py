"""The engine seam: an object that holds many replicas of a system and advances them, and what all of them share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Energies, Integrator, Positions, State, System
from mdgen.md.dynamics.integrators import Langevin, VelocityVerlet
from mdgen.md.dynamics.velocities import require_one_each
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.forces import energy_and_forces
from mdgen.md.force_field.openmm_potential import OpenMMPotential

Precision = Literal["single", "double"]


class Recording(NamedTuple):
    """Frames of every replica, float32.

    Args:
        frames: positions in nm.
        cells: vectors of the periodic box in nm, one a row; None without one.
    """

    frames: Float[np.ndarray, "replica frame atom 3"]
    cells: Float[np.ndarray, "replica frame 3 3"] | None = None


class Engine(ABC):
    """Replicas of one system in motion.

    How the steps are divided into calls never changes a bit of the result. A replica that becomes unstable continues
    as NaN and affects no other; to notice it is left to the caller.

    Args:
        system: molecule, masses, potential, constraints and cell.
        integrator: time step, temperatures and the step itself.
        n_replicas: number of copies.
        generator: seeds the engine's random numbers.
        precision: precision of positions and forces.
        threads: processor threads, for kernels and OpenMM; None for torch's number.
        device: `cpu` or `cuda`.
        pressure_bar: pressure of a barostat; None for constant volume.

    Raises:
        MdgenError: if the engine lacks something, or for a setting out of range.
    """

    name: ClassVar[str]
    compiles: ClassVar[bool] = False
    """Whether its first steps wait for a compiler."""

    def __init__(
        self,
        system: System,
        integrator: Integrator,
        n_replicas: int,
        generator: torch.Generator,
        precision: Precision = "single",
        threads: int | None = None,
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
        self._potential = system.potential
        self.pressure_bar, self._shape = pressure_bar, (n_replicas, len(system.masses), 3)
        self._set_up(system, integrator, generator, threads or torch.get_num_threads(), device)

    @classmethod
    @abstractmethod
    def lacks(
        cls, system: System, integrator: Integrator, device: str = "cpu", pressure_bar: float | None = None
    ) -> str | None:
        """What the engine does not have of what is asked for, in words; None if it has everything."""

    @abstractmethod
    def _set_up(
        self, system: System, integrator: Any, generator: torch.Generator, threads: int, device: str
    ) -> None: ...

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
        """All that decides the trajectory beside potential, start and random numbers, as plain JSON."""
        pressure = {} if self.pressure_bar is None else {"pressure_bar": self.pressure_bar}
        return {"engine": self.name, "precision": self.precision, **pressure, **self.integrator.settings}

    @property
    def adaptive(self) -> bool:
        """Whether a potential changes between blocks of steps."""
        return False

    def update_potential(self, replicas: Sequence[int]) -> None:  # noqa: B027  most engines have none that adapts
        """Pass the present state of some replicas to the potentials that adapt."""

    @abstractmethod
    def prepare(self, state: State) -> None:
        """Continue from `state`, which must have a cell if the system is periodic.

        Without a thermostat, kernels and OpenMM run leapfrog and take the velocities for those of half a step before;
        the torch engine takes them for those of the positions' time.
        """

    @abstractmethod
    def set_temperature(self, temperature_K: Float[Tensor, "temperature"]) -> None:
        """Change the temperature of the thermostat from here on."""

    @abstractmethod
    def advance(self, n_steps: int) -> State:
        """Advance by `n_steps` and return the state there."""

    def record(self, n_frames: int, steps_per_frame: int) -> Recording:
        """Advance by `n_frames * steps_per_frame` steps; the frames after each `steps_per_frame`."""
        states = [self.advance(steps_per_frame) for _ in range(n_frames)]
        frames = torch.stack([state.positions.float().cpu() for state in states], 1).numpy()
        cells = [state.cell.float().cpu() for state in states if state.cell is not None]
        return Recording(frames, torch.stack(cells, 1).diag_embed().numpy() if cells else None)

    @abstractmethod
    def potential_energy(self) -> Float[np.ndarray, "replica"]:
        """Potential energy in kJ/mol now."""

    def energy_and_forces(self, positions: Positions) -> tuple[Energies, Positions]:
        """Energies in kJ/mol and forces in kJ/mol/nm, computed as its own where the engine can; none of a box.

        The state of the replicas is lost: `prepare` them afterwards.
        """
        return energy_and_forces(self._potential, positions)

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """A copy of all that a bitwise continuation needs, random numbers and adaptive potentials included."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` gave."""

    def _require_shape(self, state: State) -> None:
        if tuple(state.positions.shape) != self._shape or tuple(state.velocities.shape) != self._shape:
            raise MdgenError(
                f"a state of shape {tuple(state.positions.shape)} does not fit an engine of (replica, atom, 3) = "
                f"{self._shape}; make the engine for that molecule and number of replicas"
            )


def beyond_langevin(integrator: Integrator) -> str | None:
    """What an engine for Langevin dynamics lacks, in words."""
    if type(integrator) not in (Langevin, VelocityVerlet):
        return f"the integrator {type(integrator).__name__} (only Langevin and VelocityVerlet)"
    return None


def beyond_force_field(system: System, integrator: Integrator) -> str | None:
    """What an engine for force fields and Langevin dynamics lacks, in words."""
    beyond = beyond_langevin(integrator)
    if beyond is None and isinstance(system.potential, OpenMMPotential):
        return system.potential.not_computed
    if beyond is None and not isinstance(system.potential, ForceField):
        return f"the potential {type(system.potential).__name__} (only a force field, without added potentials)"
    return beyond


def constant_volume(pressure_bar: float | None) -> str | None:
    """What an engine without a barostat lacks, in words."""
    return (
        None
        if pressure_bar is None
        else f"a barostat (pressure_bar is {pressure_bar}), since it runs at constant volume"
    )
