"""The reference of a charge recovery: equilibrated salt water under Newtonian dynamics."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.interfaces import System
from mdgen.md.dynamics.differentiable import rollout
from mdgen.md.dynamics.integrators import Langevin, VelocityVerlet
from mdgen.md.dynamics.velocities import initial_state
from mdgen.progress import Progress

_EQUILIBRATION_FRICTION_PER_PS = 10.0


@dataclass(frozen=True)
class Reference:
    """The trajectory that the charges are fitted to.

    Args:
        system: periodic box with its force field and the true charges.
        positions: positions in nm, not wrapped.
        velocities: velocities in nm/ps.
    """

    system: System
    positions: Float[Tensor, "frame atom 3"]
    velocities: Float[Tensor, "frame atom 3"]


def simulate_reference(
    system: System,
    *,
    timestep_fs: float,
    temperature_K: float,
    equilibration_ps: float,
    steps_per_frame: int,
    n_frames: int,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Positions and velocities of `n_frames + 1` frames of NVE dynamics, after equilibration with a thermostat."""
    warm = Langevin(timestep_fs, temperature_K, _EQUILIBRATION_FRICTION_PER_PS)
    free = VelocityVerlet(timestep_fs)
    state = initial_state(system, 1, warm.temperature_K, generator)
    n_warm = round(equilibration_ps / (warm.timestep_ps * steps_per_frame))
    progress = Progress("reference", n_warm + n_frames)
    frames = []
    with torch.no_grad():
        for done in range(n_warm + n_frames):
            if done >= n_warm:
                frames.append(state)
            integrator = warm if done < n_warm else free
            state = rollout(state, system, integrator, steps_per_frame, generator)
            progress.update(done + 1)
    frames.append(state)
    return {
        "positions": torch.cat([frame.positions for frame in frames]),
        "velocities": torch.cat([frame.velocities for frame in frames]),
    }
