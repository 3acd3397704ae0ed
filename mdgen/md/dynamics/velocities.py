"""Velocities at a temperature, and the temperature of velocities."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.md.dynamics.constraints import DistanceConstraints
from mdgen.units import BOLTZMANN


def maxwell_boltzmann(
    positions: Float[Tensor, "replica atom 3"],
    masses: Float[Tensor, "atom"],
    temperature_K: float | Sequence[float],
    generator: torch.Generator,
    constraints: DistanceConstraints | None = None,
) -> Float[Tensor, "replica atom 3"]:
    """Velocities in nm/ps drawn from the Maxwell-Boltzmann distribution.

    With constraints the draw is projected onto their tangent space in the metric of the masses, which is exactly the
    distribution of the constrained molecule.

    Args:
        positions: where the atoms are; they give precision, device and the constraints' directions.
        masses: amu.
        temperature_K: one for all, or one a replica.
        generator: source of randomness.
        constraints: distances that may not change.
    """
    kT = BOLTZMANN * replica_temperatures(temperature_K, positions)
    noise = torch.randn(positions.shape, generator=generator, dtype=positions.dtype, device=generator.device).to(
        positions.device
    )
    velocities = (kT / masses[:, None]).sqrt() * noise
    return velocities if constraints is None else constraints.velocities(positions, velocities)


def kinetic_temperature(
    velocities: Float[Tensor, "replica atom 3"], masses: Float[Tensor, "atom"], n_constraints: int = 0
) -> Float[Tensor, "replica"]:
    """Temperature in K that the kinetic energy amounts to: `2 K / (kB (3 N - n_constraints))`."""
    kinetic = 0.5 * (masses[:, None] * velocities.square()).sum((-1, -2))
    return 2 * kinetic / (BOLTZMANN * (velocities[0].numel() - n_constraints))


def replica_temperatures(
    temperature_K: float | Sequence[float], positions: Float[Tensor, "replica atom 3"]
) -> Float[Tensor, "replica 1 1"]:
    """One temperature for all, or one a replica, in the shape that multiplies velocities.

    Raises:
        MdgenError: if there are neither one nor as many temperatures as replicas.
    """
    given = torch.as_tensor(temperature_K, dtype=positions.dtype, device=positions.device).reshape(-1)
    if len(given) not in (1, len(positions)):
        raise MdgenError(
            f"temperature_K lists {len(given)} temperatures for {len(positions)} replicas; give one, or one a replica"
        )
    return given[:, None, None].expand(len(positions), 1, 1)
