"""What integrators share: time step and temperatures, checked once, and what a run must keep of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.units import FEMTOSECOND

Temperatures = float | Sequence[float] | Tensor
"""What constructors accept, since configs hold numbers and lists; inside there are tensors only."""


@dataclass(frozen=True, eq=False, init=False)
class TimeStep:
    """A time step, and the temperature of each replica.

    Args:
        timestep_fs: length of a step.
        temperature_K: one temperature for all replicas, or one for each.

    Raises:
        MdgenError: for a number out of range.
    """

    timestep_fs: float
    temperature_K: Float[Tensor, "replica"]

    def __init__(self, timestep_fs: float, temperature_K: Temperatures = 300.0) -> None:
        require_positive("timestep_fs", timestep_fs)
        object.__setattr__(self, "timestep_fs", timestep_fs)
        object.__setattr__(self, "temperature_K", _tensor(temperature_K))

    @property
    def timestep_ps(self) -> float:
        """Length of a step in ps."""
        return self.timestep_fs * FEMTOSECOND

    @property
    def settings(self) -> dict[str, Any]:
        """What a run must keep to be the same run, as plain JSON."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        plain = {name: value.tolist() if isinstance(value, Tensor) else value for name, value in own.items()}
        return {"integrator": type(self).__name__, **plain}


@dataclass(frozen=True, eq=False, init=False)
class Thermostatted(TimeStep):
    """A stochastic integrator, which holds a temperature by friction and noise.

    Args:
        timestep_fs: length of a step.
        temperature_K: one temperature for all replicas, or one for each.
        friction_per_ps: rate at which motion is damped.

    Raises:
        MdgenError: for a number out of range.
    """

    friction_per_ps: float

    def __init__(self, timestep_fs: float, temperature_K: Temperatures, friction_per_ps: float = 1.0) -> None:
        super().__init__(timestep_fs, temperature_K)
        require_not_negative("friction_per_ps", friction_per_ps)
        object.__setattr__(self, "friction_per_ps", friction_per_ps)

    def at_temperature(self, temperature_K: Float[Tensor, "replica"]) -> Self:
        """The same integrator at other temperatures."""
        return replace(self, temperature_K=temperature_K)


def _tensor(temperature_K: Temperatures) -> Float[Tensor, "replica"]:
    try:
        given = torch.as_tensor(temperature_K, dtype=torch.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise MdgenError(f"temperature_K is {temperature_K!r}, but must be a number or a list of numbers") from error
    for value in given.tolist():
        require_not_negative("temperature_K", value)
    if len(given) == 0:
        raise MdgenError("temperature_K is an empty list; give one temperature, or one a replica")
    return given


def require_positive(name: str, value: float) -> None:
    """Raise unless a setting is a positive number."""
    if not 0 < value < float("inf"):
        raise MdgenError(f"{name} is {value}, but must be a positive number")


def require_not_negative(name: str, value: float) -> None:
    """Raise unless a setting is zero or a positive number."""
    if not 0 <= value < float("inf"):
        raise MdgenError(f"{name} is {value}, but must be zero or a positive number")
