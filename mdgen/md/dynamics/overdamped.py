"""Overdamped Langevin dynamics: positions alone, for coarse beads and for sampling without inertia."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from mdgen.md.dynamics.thermostatted import Thermostatted, require_positive
from mdgen.registry import register


@register
@dataclass(frozen=True)
class OverdampedLangevin(Thermostatted):
    """Brownian dynamics, `dx = F dt / (gamma m) + sqrt(2 kT dt / (gamma m)) dW`, by Euler and Maruyama.

    The same as OpenMM's `BrownianIntegrator` (Ermak and McCammon, J. Chem. Phys. 1978, 69, 1352): each atom diffuses
    with `kT / (gamma m)`. The state's velocities are the last displacements over the time step.

    Args:
        timestep_fs: length of a step; stable where `timestep < 2 gamma / omega^2` for the fastest vibration omega.
        temperature_K: one for all, or one a replica.
        friction_per_ps: how strongly motion is damped.
        constraints: distances that may not change; an engine sets them from the molecule.
    """

    friction_per_ps: float = 91.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("friction_per_ps", self.friction_per_ps)

    def moved(
        self,
        positions: Float[Tensor, "replica atom 3"],
        velocities: Float[Tensor, "replica atom 3"],
        masses: Float[Tensor, "atom"],
        forces: Callable[[Tensor], Tensor],
        noise: Float[Tensor, "replica atom 3"],
        kT: Float[Tensor, "replica 1 1"],
    ) -> tuple[Float[Tensor, "replica atom 3"], Float[Tensor, "replica atom 3"]]:
        """Positions after a step, and how fast they came there; former velocities play no part."""
        dt = self.timestep_ps
        mobility = 1 / (self.friction_per_ps * masses[:, None])
        moved = positions + dt * mobility * forces(positions) + (2 * dt * kT * mobility).sqrt() * noise
        if self.constraints is not None:
            moved = self.constraints.positions(positions, moved)
        return moved, (moved - positions) / dt
