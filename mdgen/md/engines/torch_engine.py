"""The engine in torch: any device, any precision, any `Potential` on top of the force field."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Potential, State
from mdgen.md.dynamics.constraints import distance_constraints
from mdgen.md.dynamics.integrators import Langevin, VelocityVerlet
from mdgen.md.dynamics.overdamped import OverdampedLangevin
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.forces import SumOfPotentials
from mdgen.md.force_field.parameters import ForceFieldParameters

_DTYPES = {"single": torch.float32, "double": torch.float64}
_RECENTRE_EVERY = 1000


class TorchEngine:
    """Dynamics by an integrator of `integrators`, or by `overdamped.OverdampedLangevin`; an `engine.Engine`.

    Without extra potentials a molecule's centre is put back to the origin every thousand steps, since precision would
    fade as it diffuses away.

    Args:
        parameters: the force field, constraints included.
        integrator: time step, temperature and friction; its constraints are set here.
        n_replicas: how many copies.
        generator: source of randomness, of the same device; its state is saved with the engine's.
        precision: `single` or `double`.
        device: where to compute.
        extra: potentials to add, such as a bias; they may depend on where the molecule is.

    Raises:
        MdgenError: if the precision is not known.
    """

    def __init__(
        self,
        parameters: ForceFieldParameters,
        integrator: Langevin | OverdampedLangevin | VelocityVerlet,
        n_replicas: int,
        generator: torch.Generator,
        precision: Literal["single", "double"] = "double",
        device: str = "cpu",
        extra: Sequence[Potential] = (),
    ) -> None:
        if precision not in _DTYPES:
            raise MdgenError(f"precision is {precision!r}, but must be one of {', '.join(_DTYPES)}")
        self.n_replicas, self.precision = n_replicas, precision
        self.generator = generator
        self.parameters = parameters.to(device, _DTYPES[precision])
        p = self.parameters
        held = distance_constraints(p.masses, p.constraint_atoms, p.constraint_length)
        self._made_for = integrator
        self._integrator = replace(integrator, constraints=held)
        self._force_field = ForceField(p)
        self._potential = SumOfPotentials([self._force_field, *extra])
        self._recentres = not extra
        zeros = p.masses.new_zeros(n_replicas, p.n_atoms, 3)
        self._state = State(zeros, zeros)

    @property
    def timestep_ps(self) -> float:
        """Length of a step."""
        return self._integrator.timestep_ps

    @property
    def temperature_K(self) -> float | list[float]:
        """One for all, or one a replica, as the engine was made."""
        return self._made_for.temperatures

    @property
    def settings(self) -> dict[str, str | float | list[float]]:
        """Engine, precision and integrator."""
        return {"engine": "torch", "precision": self.precision, **self._made_for.settings}

    def prepare(self, state: State) -> None:
        """Go on from `state`."""
        expected = tuple(self._state.positions.shape)
        if tuple(state.positions.shape) != expected or tuple(state.velocities.shape) != expected:
            raise MdgenError(
                f"a state of shape {tuple(state.positions.shape)} does not fit an engine of (replica, atom, 3) = "
                f"{expected}; make the engine for that molecule and number of replicas"
            )
        like = self.parameters.masses
        self._state = replace(
            state,
            positions=state.positions.to(like),
            velocities=state.velocities.to(like),
            cell=None if state.cell is None else state.cell.to(like),
        )

    def set_temperature(self, temperature_K: float | list[float]) -> None:
        """Change the thermostat's temperature from here on."""
        self._integrator = replace(self._integrator, temperature_K=temperature_K)

    def advance(self, n_steps: int) -> State:
        """Move on by `n_steps`."""
        state = self._state
        end = state.step + n_steps
        with torch.no_grad():
            while state.step < end:
                until = min(end, (state.step // _RECENTRE_EVERY + 1) * _RECENTRE_EVERY)
                state = self._advanced(state, until - state.step)
                if self._recentres and state.step % _RECENTRE_EVERY == 0:
                    state = replace(state, positions=state.positions - state.positions.mean(1, keepdim=True))
        self._state = state
        return state

    def _advanced(self, state: State, n_steps: int) -> State:
        for _ in range(n_steps):
            state = self._integrator.step(state, self.parameters.masses, self._potential, self.generator)
        return state

    def record(self, n_frames: int, steps_per_frame: int) -> Float[np.ndarray, "replica frame atom 3"]:
        """Move on by `n_frames * steps_per_frame` steps and return the frames."""
        frames = [self.advance(steps_per_frame).positions.float().cpu() for _ in range(n_frames)]
        return torch.stack(frames, 1).numpy()

    def potential_energy(self) -> Float[np.ndarray, "replica"]:
        """Potential energy in kJ/mol now."""
        with torch.no_grad():
            return self._potential.energy(self._state.positions, self._state.cell).cpu().numpy()

    def state_dict(self) -> dict[str, Tensor]:
        """Positions, velocities, cell, temperatures, the step and the generator's state."""
        temperatures = torch.as_tensor(self._integrator.temperature_K, dtype=torch.float64).reshape(-1)
        cell = self._state.cell
        return ({} if cell is None else {"cell": cell.cpu().clone()}) | {
            "positions": self._state.positions.cpu().clone(),
            "velocities": self._state.velocities.cpu().clone(),
            "temperature_K": temperatures,
            "step": torch.tensor(self._state.step),
            "random": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state_dict` gave."""
        self.prepare(State(state["positions"], state["velocities"], int(state["step"]), state.get("cell")))
        temperatures = state["temperature_K"].tolist()
        self.set_temperature(temperatures[0] if len(temperatures) == 1 else temperatures)
        self.generator.set_state(state["random"])
