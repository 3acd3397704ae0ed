"""The engine in torch: any potential, any integrator, any device, any precision."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.interfaces import AdaptivePotential, Energies, Integrator, Positions, State, System
from mdgen.md.engines.base_engine import Engine, constant_volume
from mdgen.md.force_field.forces import energy_and_forces, is_translation_invariant, parts_of, placed_potential

_DTYPES = {"single": torch.float32, "double": torch.float64}
_RECENTRE_EVERY = 1000
_POTENTIAL = "potential."


class TorchEngine(Engine):
    """Dynamics of any system by any integrator of `interfaces.Integrator`.

    Where the potential is translation invariant, each replica's centre is moved to the origin every thousand steps,
    since precision would be lost as it diffuses away. The generator's state is saved with the engine's; for another
    device it seeds one there. The number of threads is torch's own.
    """

    name = "torch"

    def _set_up(self, system: System, integrator: Any, generator: torch.Generator, threads: int, device: str) -> None:
        self.system = placed_system(system, device, _DTYPES[self.precision])
        self.generator = generator_on(device, generator)
        self._moving = integrator
        self._recentres = is_translation_invariant(self.system.potential)
        self._adaptive = [p for p in parts_of(self.system.potential) if isinstance(p, AdaptivePotential)]
        zeros = self.system.masses.new_zeros(self._shape)
        self._state = State(zeros, zeros)

    @classmethod
    def lacks(
        cls, system: System, integrator: Integrator, device: str = "cpu", pressure_bar: float | None = None
    ) -> str | None:
        """Ewald sums and a barostat, in words; None where neither is asked for."""
        missing = (getattr(part, "not_computed", None) for part in parts_of(system.potential))
        return constant_volume(pressure_bar) or next(filter(None, missing), None)

    @property
    def adaptive(self) -> bool:
        """Whether a potential changes between blocks of steps."""
        return bool(self._adaptive)

    def update_potential(self, replicas: Sequence[int]) -> None:
        """Pass the present state of some replicas to the potentials that adapt."""
        rows, now = list(replicas), self._state
        cell = None if now.cell is None else now.cell[rows]
        for part in self._adaptive:
            part.update(State(now.positions[rows], now.velocities[rows], now.step, cell))

    def prepare(self, state: State) -> None:
        """Continue from `state`."""
        self._require_shape(state)
        like = self.system.masses
        self._state = replace(
            state,
            positions=state.positions.to(like),
            velocities=state.velocities.to(like),
            cell=None if state.cell is None else state.cell.to(like),
        )

    def set_temperature(self, temperature_K: Float[Tensor, "temperature"]) -> None:
        """Change the temperature of the thermostat from here on."""
        self._moving = self._moving.at_temperature(temperature_K)

    def advance(self, n_steps: int) -> State:
        """Advance by `n_steps`."""
        state = self._state
        with torch.no_grad():
            for _ in range(n_steps):
                state = self._moving.step(state, self.system, self.generator)
                if self._recentres and state.step % _RECENTRE_EVERY == 0:
                    state = replace(state, positions=state.positions - state.positions.mean(1, keepdim=True))
        self._state = state
        return state

    def potential_energy(self) -> Float[np.ndarray, "replica"]:
        """Potential energy in kJ/mol now."""
        with torch.no_grad():
            return self.system.potential.energy(self._state.positions, self._state.cell).cpu().numpy()

    def energy_and_forces(self, positions: Positions) -> tuple[Energies, Positions]:
        """Energies and forces on the engine's device and in its precision."""
        energies, forces = energy_and_forces(self.system.potential, positions.to(self.system.masses))
        return energies.to(positions), forces.to(positions)

    def state_dict(self) -> dict[str, Tensor]:
        """Positions, velocities, cell, temperatures, the step, and the states of generator and adaptive potentials."""
        cell = self._state.cell
        learned = {
            f"{_POTENTIAL}{index}.{name}": value.detach().cpu().clone()
            for index, part in enumerate(self._adaptive)
            for name, value in part.state_dict().items()
        }
        return (
            learned
            | ({} if cell is None else {"cell": cell.cpu().clone()})
            | {
                "positions": self._state.positions.cpu().clone(),
                "velocities": self._state.velocities.cpu().clone(),
                "temperature_K": self._moving.temperature_K.cpu().double().clone(),
                "step": torch.tensor(self._state.step),
                "random": self.generator.get_state(),
            }
        )

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state_dict` gave."""
        self.prepare(State(state["positions"], state["velocities"], int(state["step"]), state.get("cell")))
        if not torch.equal(state["temperature_K"], self._moving.temperature_K.cpu().double()):
            self.set_temperature(state["temperature_K"])
        self.generator.set_state(state["random"])
        for index, part in enumerate(self._adaptive):
            prefix = f"{_POTENTIAL}{index}."
            part.load_state_dict(
                {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            )


def placed_system(system: System, device: torch.device | str, dtype: torch.dtype) -> System:
    """The system on a device and in a precision; parts without a method `to` are used as they are."""
    held, cell = system.constraints, system.cell
    move = getattr(held, "to", None)
    return replace(
        system,
        masses=system.masses.to(device, dtype),
        potential=placed_potential(system.potential, device, dtype),
        positions=system.positions.to(device, dtype),
        constraints=held if move is None else move(device, dtype),
        cell=None if cell is None else cell.to(device, dtype),
    )


def generator_on(device: str, generator: torch.Generator) -> torch.Generator:
    """The generator, or one of another device seeded from it, so that no step waits for numbers from elsewhere."""
    if torch.empty(0, device=device).device == generator.device:
        return generator
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    return torch.Generator(device).manual_seed(seed)
