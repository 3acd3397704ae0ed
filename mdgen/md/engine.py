"""What drives a simulation: something that holds many replicas and moves them on, whatever it is made of."""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import openmm
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Potential, State
from mdgen.md.integrators import Langevin
from mdgen.md.kernel_engine import KernelEngine
from mdgen.md.kernels.replica_kernel import MOST_ATOMS
from mdgen.md.openmm_engine import OpenMMEngine
from mdgen.md.parameters import ForceFieldParameters
from mdgen.md.torch_engine import TorchEngine

_KINDS = ("auto", "kernel", "torch", "openmm")


@runtime_checkable
class Engine(Protocol):
    """Replicas of one molecule in motion.

    How the steps are cut into calls never changes a bit of the result. A replica that blows up goes on as NaN and
    harms no other; nobody but the caller looks.
    """

    @property
    def n_replicas(self) -> int:
        """How many copies."""
        ...

    @property
    def timestep_ps(self) -> float:
        """Length of a step."""
        ...

    @property
    def temperature_K(self) -> float | list[float]:
        """What it was made for: one for all, or one a replica."""
        ...

    @property
    def settings(self) -> dict[str, str | float | list[float]]:
        """All that decides the trajectory beside force field, start and random numbers."""
        ...

    def prepare(self, state: State) -> None:
        """Go on from `state`."""
        ...

    def set_temperature(self, temperature_K: float | list[float]) -> None:
        """Change the thermostat's temperature from here on."""
        ...

    def advance(self, n_steps: int) -> State:
        """Move on, and say where that leads."""
        ...

    def record(self, n_frames: int, steps_per_frame: int) -> Float[np.ndarray, "replica frame atom 3"]:
        """Move on by `n_frames * steps_per_frame` steps; float32 positions in nm after each `steps_per_frame`."""
        ...

    def potential_energy(self) -> Float[np.ndarray, "replica"]:
        """Potential energy in kJ/mol now."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of all that a bitwise continuation needs, random numbers included."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state_dict` gave."""
        ...


def make_engine(
    parameters: ForceFieldParameters,
    integrator: Langevin,
    n_replicas: int,
    generator: torch.Generator,
    kind: Literal["auto", "kernel", "torch", "openmm"] = "auto",
    precision: Literal["single", "double"] = "single",
    threads: int | None = None,
    device: str = "cpu",
    openmm_system: openmm.System | None = None,
    pressure_bar: float | None = None,
    extra: Sequence[Potential] = (),
) -> Engine:
    """The engine for a molecule.

    Args:
        parameters: the force field.
        integrator: time step, temperature and friction.
        n_replicas: how many copies.
        generator: seeds the engine's random numbers.
        kind: `kernel` is compiled for processors, `torch` runs wherever torch does; `auto` takes the kernel on the CPU
            for molecules that it takes; `openmm` is OpenMM itself, which alone has PME and pressure.
        precision: of positions and forces.
        threads: of the kernel; None for torch's number.
        device: of the torch engine and of OpenMM.
        openmm_system: the force field as OpenMM holds it, for `openmm`.
        pressure_bar: for `openmm`: of its barostat; None for constant volume.
        extra: potentials to add, for `torch`.

    Raises:
        MdgenError: if an engine is asked for that does not have a part of the force field, or is not known.
    """
    if kind not in _KINDS:
        raise MdgenError(f"engine is {kind!r}, but must be one of {', '.join(_KINDS)}")
    if (
        kind == "auto"
        and openmm_system is not None
        and (pressure_bar is not None or (parameters.cutoff is not None and parameters.cutoff.ewald))
    ):
        kind = "openmm"
    if kind == "openmm":
        if openmm_system is None:
            raise MdgenError("engine=openmm needs the system as OpenMM holds it, but this one came without")
        return OpenMMEngine(openmm_system, integrator, n_replicas, generator, precision, threads, device, pressure_bar)
    if pressure_bar is not None:
        raise MdgenError(
            f"pressure_bar is {pressure_bar}, but engine={kind} runs at constant volume; use engine=openmm"
        )
    if extra and kind in ("kernel", "openmm"):
        raise MdgenError(f"engine={kind} cannot add potentials; use engine=torch")
    beyond = "room for added potentials" if extra else beyond_kernel(parameters)
    if kind == "auto":
        kind = "kernel" if device == "cpu" and beyond is None else "torch"
    if kind == "kernel":
        if beyond is not None:
            raise MdgenError(f"engine=kernel does not have {beyond}; use engine=torch, or auto to let mdgen choose")
        return KernelEngine(parameters, integrator, n_replicas, generator, precision, threads)
    return TorchEngine(parameters, integrator, n_replicas, generator, precision, device, extra)


def beyond_kernel(parameters: ForceFieldParameters) -> str | None:
    """What of a force field the compiled kernel does not have, in words; None if it has it all."""
    if parameters.n_atoms > MOST_ATOMS:
        return f"room for {parameters.n_atoms} atoms (at most {MOST_ATOMS})"
    born = parameters.born
    for part, words in (("cmap", "correction maps"), ("impropers", "harmonic impropers"), ("pair_table", "NBFIX")):
        if getattr(parameters, part) is not None:
            return words
    if parameters.cutoff is not None:
        return "cutoffs or periodic boxes"
    if born is not None and born.kappa_per_nm:
        return "salt in generalised Born"
    return None
