"""A plug-in of parts: a small untrained network, a potential that adapts, and an integrator of a user's own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from mdgen.interfaces import State, System
from mdgen.md.force_field.forces import energy_and_forces
from mdgen.md.force_field.module_potential import ModulePotential
from mdgen.registry import register
from mdgen.units import BOLTZMANN


class Network(torch.nn.Module):
    """Energies of beads from their distances to the origin, with a spring that keeps them there."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
        generator = torch.Generator().manual_seed(seed)
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=generator, dtype=torch.float64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (20 * self.layers(5 * x)[..., 0] + 200 * x.square().sum(-1)).sum(-1)


@register
def network(seed: int = 0) -> ModulePotential:
    """The network as a potential."""
    return ModulePotential(Network(seed))


@register
class Flood:
    """A bias that rises where replicas have been: Gaussians along x of the first atom."""

    fingerprint = "flood"

    def __init__(self) -> None:
        self.centres = torch.zeros(0, dtype=torch.float64)

    def energy(self, positions: torch.Tensor, cell: torch.Tensor | None = None) -> torch.Tensor:
        between = positions[:, 0, :1] - self.centres.to(positions)
        return 0.2 * torch.exp(-0.5 * (between / 0.05).square()).sum(-1)

    def update(self, state: State) -> None:
        self.centres = torch.cat([self.centres, state.positions[:, 0, 0].detach().cpu().double()])

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"centres": self.centres.clone()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        self.centres = state["centres"].clone()


@register
@dataclass(frozen=True)
class MetropolisWalk:
    """Monte Carlo steps in the place of dynamics: an integrator that needs neither masses nor velocities."""

    width_nm: float = 0.03
    kelvin: float = 300.0

    @property
    def timestep_ps(self) -> float:
        return 0.01

    @property
    def temperature_K(self) -> torch.Tensor:
        return torch.tensor([self.kelvin], dtype=torch.float64)

    @property
    def settings(self) -> dict[str, Any]:
        return {"integrator": "MetropolisWalk", "width_nm": self.width_nm, "kelvin": self.kelvin}

    def at_temperature(self, temperature_K: torch.Tensor) -> "MetropolisWalk":
        return replace(self, kelvin=float(temperature_K))

    def step(self, state: State, system: System, generator: torch.Generator) -> State:
        x = state.positions
        trial = x + self.width_nm * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        gain = energy_and_forces(system.potential, x)[0] - energy_and_forces(system.potential, trial)[0]
        accepted = torch.rand(len(x), generator=generator, dtype=x.dtype).log() < gain / (BOLTZMANN * self.kelvin)
        return replace(state, positions=torch.where(accepted[:, None, None], trial, x), step=state.step + 1)
