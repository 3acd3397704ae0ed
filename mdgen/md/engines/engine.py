"""The engine seam: an object that holds many replicas of a system and advances them."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Integrator, State, System
from mdgen.md.engines.base_engine import BaseEngine, Precision
from mdgen.md.engines.kernel_engine import KernelEngine
from mdgen.md.engines.openmm_engine import OpenMMEngine
from mdgen.md.engines.torch_engine import TorchEngine

ENGINES: dict[str, type[BaseEngine]] = {each.name: each for each in (KernelEngine, TorchEngine, OpenMMEngine)}
"""Engines by name, the fastest first."""


@runtime_checkable
class Engine(Protocol):
    """Replicas of one system in motion.

    How the steps are divided into calls never changes a bit of the result. A replica that becomes unstable continues
    as NaN and affects no other; to notice it is left to the caller.
    """

    @property
    def n_replicas(self) -> int:
        """Number of copies."""
        ...

    @property
    def timestep_ps(self) -> float:
        """Length of a step."""
        ...

    @property
    def temperature_K(self) -> Float[Tensor, "temperature"]:
        """Temperature of each replica, or one for all, as the engine was made."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the trajectory beside potential, start and random numbers, as plain JSON."""
        ...

    @property
    def adaptive(self) -> bool:
        """Whether a potential changes between blocks of steps."""
        ...

    def update_potential(self, replicas: Sequence[int]) -> None:
        """Pass the present state of some replicas to the potentials that adapt."""
        ...

    def prepare(self, state: State) -> None:
        """Continue from `state`.

        Without a thermostat, kernels and OpenMM run leapfrog and take the velocities for those of half a step before;
        the torch engine takes them for those of the positions' time.
        """
        ...

    def set_temperature(self, temperature_K: Float[Tensor, "temperature"]) -> None:
        """Change the temperature of the thermostat from here on."""
        ...

    def advance(self, n_steps: int) -> State:
        """Advance by `n_steps` and return the state there."""
        ...

    def record(self, n_frames: int, steps_per_frame: int) -> Float[np.ndarray, "replica frame atom 3"]:
        """Advance by `n_frames * steps_per_frame` steps; float32 positions in nm after each `steps_per_frame`."""
        ...

    def potential_energy(self) -> Float[np.ndarray, "replica"]:
        """Potential energy in kJ/mol now."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of all that a bitwise continuation needs, random numbers and adaptive potentials included."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` gave."""
        ...


def make_engine(
    system: System,
    integrator: Integrator,
    n_replicas: int,
    generator: torch.Generator,
    kind: Literal["auto", "kernel", "torch", "openmm"] = "auto",
    precision: Precision = "single",
    threads: int | None = None,
    device: str = "cpu",
    pressure_bar: float | None = None,
) -> Engine:
    """An engine for a system.

    Args:
        system: molecule, masses, potential, constraints and cell.
        integrator: time step, temperatures and friction; without a thermostat, best in double precision.
        n_replicas: number of copies.
        generator: seeds the engine's random numbers.
        kind: `kernel` is compiled for processors, `torch` runs every potential and integrator wherever torch does,
            `openmm` is OpenMM itself, which alone has PME and pressure; `auto` is the first that lacks nothing.
        precision: precision of positions and forces.
        threads: processor threads; None for torch's number.
        device: `cpu` or `cuda`, for the torch engine and OpenMM.
        pressure_bar: pressure of OpenMM's barostat; None for constant volume.

    Raises:
        MdgenError: if an engine that is asked for lacks a part of system or integrator, or every engine does, or there
            are neither one nor as many temperatures as replicas.
    """
    if device != "cpu" and not device.startswith("cuda"):
        raise MdgenError(f"device is {device!r}, but must be cpu or cuda")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise MdgenError(f"device={device} was asked for, but torch finds no CUDA device here; use device=cpu")
    if kind != "auto" and kind not in ENGINES:
        raise MdgenError(f"engine is {kind!r}, but must be one of auto, {', '.join(ENGINES)}")
    missing = {name: each.lacks(system, integrator, device, pressure_bar) for name, each in ENGINES.items()}
    able = [name for name, words in missing.items() if words is None]
    if not able:
        words = "; ".join(f"engine={name} does not have {what}" for name, what in missing.items())
        raise MdgenError(f"no engine runs this: {words}")
    if kind != "auto" and kind not in able:
        raise MdgenError(
            f"engine={kind} does not have {missing[kind]}; use engine={able[0]}, or auto to let mdgen choose"
        )
    make: Any = ENGINES[able[0] if kind == "auto" else kind]
    return make(system, integrator, n_replicas, generator, precision, threads, device, pressure_bar)
