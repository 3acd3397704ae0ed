"""The engine on compiled kernels: small molecules, many replicas, processors."""

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.interfaces import State
from mdgen.md.dynamics.integrators import Langevin, VelocityVerlet
from mdgen.md.engines.lanes.replicas.replica_kernel import ReplicaKernel
from mdgen.md.force_field.parameters import ForceFieldParameters


class KernelEngine:
    """Langevin dynamics, or leapfrog without friction, on `kernels.ReplicaKernel`; an `engine.Engine`.

    Args:
        parameters: the force field, constraints included.
        integrator: time step, temperature and friction.
        n_replicas: how many copies; multiples of 16 waste nothing.
        generator: seeds one random stream a replica.
        precision: `single`, or `double` for comparisons.
        threads: processor threads; None for torch's number.
    """

    name: ClassVar[str] = "kernel"
    # A kernel's class, of the same constructor; engines of other kernels inherit from this one.
    kernel_class: ClassVar[Any] = ReplicaKernel

    def __init__(
        self,
        parameters: ForceFieldParameters,
        integrator: Langevin | VelocityVerlet,
        n_replicas: int,
        generator: torch.Generator,
        precision: Literal["single", "double"] = "single",
        threads: int | None = None,
    ) -> None:
        self.n_replicas, self.precision = n_replicas, precision
        self.integrator = integrator
        self._kernel = self.kernel_class(
            parameters,
            n_replicas,
            integrator.timestep_ps,
            torch.as_tensor(integrator.temperature_K, dtype=torch.float64),
            integrator.friction_per_ps,
            generator,
            precision,
            threads,
        )

    @property
    def timestep_ps(self) -> float:
        """Length of a step."""
        return self.integrator.timestep_ps

    @property
    def temperature_K(self) -> float | list[float]:
        """One for all, or one a replica."""
        return self.integrator.temperatures

    @property
    def settings(self) -> dict[str, str | float | list[float]]:
        """Engine, precision and integrator."""
        return {"engine": self.name, "precision": self.precision, **self.integrator.settings}

    def prepare(self, state: State) -> None:
        """Go on from `state`, its centre moved to the origin."""
        self._kernel.set_state(state.positions, state.velocities)
        self._kernel.steps_done = state.step

    def set_temperature(self, temperature_K: float | list[float]) -> None:
        """Change the thermostat's temperature from here on."""
        self._kernel.set_temperature(torch.as_tensor(temperature_K, dtype=torch.float64))

    def advance(self, n_steps: int) -> State:
        """Move on by `n_steps`."""
        kernel = self._kernel
        kernel.advance(n_steps)
        positions, velocities = torch.from_numpy(kernel.positions()), torch.from_numpy(kernel.velocities())
        return State(positions, velocities, kernel.steps_done)

    def record(self, n_frames: int, steps_per_frame: int) -> Float[np.ndarray, "replica frame atom 3"]:
        """Move on by `n_frames * steps_per_frame` steps and return the frames."""
        return self._kernel.record(n_frames, steps_per_frame)

    def potential_energy(self) -> Float[np.ndarray, "replica"]:
        """Potential energy in kJ/mol now."""
        return self._kernel.potential_energy()

    def state_dict(self) -> dict[str, Tensor]:
        """Positions, velocities, random streams, temperatures and the step."""
        return self._kernel.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state_dict` gave."""
        self._kernel.load_state_dict(state)
