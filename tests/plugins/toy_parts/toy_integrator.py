"""Steepest descent with noise: Brownian dynamics of systems without constraints."""

import dataclasses
from typing import Any, Self

import torch
from torch import Tensor

from mdgen.interfaces import State, System
from mdgen.registry import register
from mdgen.units import BOLTZMANN


@register
class NoisyDescent:
    """Brownian dynamics in which all atoms have the same mobility.

    Args:
        timestep_fs: length of a step.
        temperature: temperature of all replicas in K.
        mobility: velocity over force, in nm^2 mol / (kJ ps).
    """

    def __init__(self, timestep_fs: float, temperature: float = 300.0, mobility: float = 1e-3) -> None:
        self.timestep_fs, self.temperature, self.mobility = timestep_fs, temperature, mobility

    @property
    def timestep_ps(self) -> float:
        """Length of a step."""
        return self.timestep_fs / 1000

    @property
    def temperature_K(self) -> Tensor:
        """One temperature for all replicas."""
        return torch.tensor([self.temperature])

    @property
    def settings(self) -> dict[str, Any]:
        """All three numbers."""
        return {"integrator": type(self).__name__, **vars(self)}

    def at_temperature(self, temperature_K: Tensor) -> Self:
        """The same integrator at the first of some temperatures."""
        return type(self)(self.timestep_fs, float(temperature_K.reshape(-1)[0]), self.mobility)

    def step(self, state: State, system: System, generator: torch.Generator) -> State:
        """One step of every replica."""
        with torch.enable_grad():
            x = state.positions.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(system.potential.energy(x, state.cell).sum(), x)
        dt = self.timestep_ps
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        width = (2 * BOLTZMANN * self.temperature * self.mobility * dt) ** 0.5
        moved = x.detach() - self.mobility * dt * gradient + width * noise
        return dataclasses.replace(
            state, positions=moved, velocities=(moved - state.positions) / dt, step=state.step + 1
        )
