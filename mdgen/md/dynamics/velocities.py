"""Velocities at a temperature, the temperature of velocities, and the state that a run starts with."""

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Constraints, Positions, State, System
from mdgen.units import BOLTZMANN


def initial_state(
    system: System,
    n_replicas: int,
    temperature_K: Float[Tensor, "temperature"],
    generator: torch.Generator,
    positions: Float[Tensor, "replica atom 3"] | None = None,
) -> State:
    """Replicas of a system with velocities drawn from the Maxwell-Boltzmann distribution.

    Args:
        system: the system.
        n_replicas: number of copies.
        temperature_K: temperature of each replica, or one for all.
        generator: source of randomness.
        positions: start of each replica in nm, constraints met; None for the system's own.
    """
    x = system.positions.repeat(n_replicas, 1, 1) if positions is None else positions
    velocities = maxwell_boltzmann(x, system.masses, temperature_K, generator, system.constraints)
    return State(x, velocities, cell=None if system.cell is None else system.cell.expand(n_replicas, 3))


def maxwell_boltzmann(
    positions: Float[Tensor, "replica atom 3"],
    masses: Float[Tensor, "atom"],
    temperature_K: Float[Tensor, "temperature"],
    generator: torch.Generator,
    constraints: Constraints | None = None,
) -> Float[Tensor, "replica atom 3"]:
    """Velocities in nm/ps drawn from the Maxwell-Boltzmann distribution.

    With constraints the draw is projected onto their tangent space in the metric of the masses, which is exactly the
    distribution of the constrained molecule.

    Args:
        positions: nm; precision and device of the result are theirs.
        masses: amu.
        temperature_K: temperature of each replica, or one for all.
        generator: source of randomness.
        constraints: distances that may not change.
    """
    kT = BOLTZMANN * replica_temperatures(temperature_K, positions)
    velocities = (kT / masses[:, None]).sqrt() * standard_normal(positions, generator)
    return velocities if constraints is None else constraints.velocities(positions, velocities)


def standard_normal(like: Positions, generator: torch.Generator) -> Positions:
    """One normal number for every coordinate, drawn on the device of the generator."""
    noise = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=generator.device)
    return noise.to(like.device)


def replica_temperatures(
    temperature_K: Float[Tensor, "temperature"], positions: Positions
) -> Float[Tensor, "replica 1 1"]:
    """Temperatures in the shape that multiplies velocities, in the precision and on the device of the positions."""
    given = require_one_each(temperature_K, len(positions)).to(positions)
    return given[:, None, None].expand(len(positions), 1, 1)


def require_one_each(temperature_K: Float[Tensor, "temperature"], n_replicas: int) -> Float[Tensor, "temperature"]:
    """The temperatures, if there is one for all replicas or one for each.

    Raises:
        MdgenError: if there are more or fewer.
    """
    if temperature_K.ndim != 1 or len(temperature_K) not in (1, n_replicas):
        raise MdgenError(
            f"temperature_K lists {temperature_K.numel()} temperatures for {n_replicas} replicas; give one, or one a "
            "replica"
        )
    return temperature_K
