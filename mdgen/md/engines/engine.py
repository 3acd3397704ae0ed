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
from mdgen.md.dynamics.integrators import Langevin, VelocityVerlet
from mdgen.md.dynamics.overdamped import OverdampedLangevin
from mdgen.md.engines.box_engine import BoxEngine
from mdgen.md.engines.kernel_engine import KernelEngine
from mdgen.md.engines.lanes.replicas.replica_kernel import MOST_ATOMS
from mdgen.md.engines.openmm_engine import OpenMMEngine
from mdgen.md.engines.torch_engine import TorchEngine
from mdgen.md.force_field.parameters import Cutoff, ForceFieldParameters

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
        """Go on from `state`.

        Without a thermostat, kernels and OpenMM move by leapfrog and take the velocities for those of half a step
        before; the torch engine takes them for those of the positions' time.
        """
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
    integrator: Langevin | OverdampedLangevin | VelocityVerlet,
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
        integrator: time step, temperature and friction; without a thermostat, best in double precision.
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
        MdgenError: if an engine is asked for that does not have a part of the force field, or is not known, or there
            are neither one nor as many temperatures as replicas.
    """
    if device != "cpu" and not device.startswith("cuda"):
        raise MdgenError(f"device is {device!r}, but must be cpu or cuda")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise MdgenError(f"device={device} was asked for, but torch finds no CUDA device here; use device=cpu")
    given = integrator.temperatures
    if isinstance(given, list) and len(given) not in (1, n_replicas):
        raise MdgenError(
            f"temperature_K lists {len(given)} temperatures for {n_replicas} replicas; give one, or one a replica"
        )
    if isinstance(integrator, VelocityVerlet):
        _require_no_pressure(pressure_bar)
    chosen = _chosen(kind, parameters, integrator, device, openmm_system, pressure_bar, extra)
    if chosen == "torch" or isinstance(integrator, OverdampedLangevin):
        return TorchEngine(parameters, integrator, n_replicas, generator, precision, device, extra)
    if chosen == "kernel" and parameters.cutoff is not None:
        return BoxEngine(parameters, integrator, n_replicas, generator, precision, threads)
    if chosen == "kernel":
        return KernelEngine(parameters, integrator, n_replicas, generator, precision, threads)
    assert openmm_system is not None
    return OpenMMEngine(openmm_system, integrator, n_replicas, generator, precision, threads, device, pressure_bar)


def _chosen(
    kind: str,
    parameters: ForceFieldParameters,
    integrator: Langevin | OverdampedLangevin | VelocityVerlet,
    device: str,
    openmm_system: openmm.System | None,
    pressure_bar: float | None,
    extra: Sequence[Potential],
) -> str:
    """The engine that `auto` comes to; one that is asked for by name must have all that is needed."""
    if kind not in _KINDS:
        raise MdgenError(f"engine is {kind!r}, but must be one of {', '.join(_KINDS)}")
    ewald = parameters.cutoff is not None and parameters.cutoff.ewald
    overdamped = isinstance(integrator, OverdampedLangevin)
    beyond = "added potentials" if extra else "overdamped Langevin dynamics" if overdamped else None
    beyond_the_kernel = beyond or beyond_kernel(parameters)
    if kind == "auto":
        on_kernel = device == "cpu" and beyond_the_kernel is None
        kind = "openmm" if ewald or pressure_bar is not None else "kernel" if on_kernel else "torch"
    if kind == "openmm" and openmm_system is None:
        raise MdgenError("engine=openmm needs the system as OpenMM holds it, but this one came without")
    if kind != "openmm" and pressure_bar is not None:
        raise MdgenError(
            f"pressure_bar is {pressure_bar}, but engine={kind} runs at constant volume; use engine=openmm"
        )
    missing = {"kernel": beyond_the_kernel, "openmm": beyond}.get(kind)
    if missing is not None:
        other = "openmm" if ewald else "torch"
        raise MdgenError(f"engine={kind} does not have {missing}; use engine={other}, or auto to let mdgen choose")
    return kind


def _require_no_pressure(pressure_bar: float | None) -> None:
    """Raise where dynamics at constant energy meet a barostat."""
    if pressure_bar is not None:
        raise MdgenError(
            f"pressure_bar is {pressure_bar}, but a barostat needs a thermostat and integrator=verlet has none; "
            "use integrator=langevin"
        )


def beyond_kernel(parameters: ForceFieldParameters) -> str | None:
    """What of a force field the compiled kernel does not have, in words; None if it has it all.

    There are two: one for boxes and cutoffs, and one for many replicas of a small molecule.
    """
    if parameters.cutoff is not None:
        return _beyond_box_kernel(parameters, parameters.cutoff)
    if parameters.n_atoms > MOST_ATOMS:
        return f"room for {parameters.n_atoms} atoms (at most {MOST_ATOMS})"
    born = parameters.born
    for part, words in (("cmap", "correction maps"), ("impropers", "harmonic impropers"), ("pair_table", "NBFIX")):
        if getattr(parameters, part) is not None:
            return words
    if born is not None and born.kappa_per_nm:
        return "salt in generalised Born"
    if born is not None and born.kind == "HCT":
        return "generalised Born after HCT"
    return None


def _beyond_box_kernel(parameters: ForceFieldParameters, cutoff: Cutoff) -> str | None:
    if cutoff.ewald:
        return "Ewald sums (PME)"
    if parameters.born is not None:
        return "generalised Born with a cutoff"
    return "correction maps in a box" if parameters.cmap is not None else None
