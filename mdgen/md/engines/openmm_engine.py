"""OpenMM as the engine: explicit solvent with PME, constant pressure, and whatever the built-in engine lacks."""

from typing import Literal

import numpy as np
import openmm
import torch
from jaxtyping import Float
from openmm import unit
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import State
from mdgen.md.dynamics.integrators import Langevin, VelocityVerlet

_TOLERANCE = 1e-6
_PERIOD = 25
"""Steps between two attempts of the barostat."""


class OpenMMEngine:
    """Langevin dynamics by OpenMM's `LangevinMiddleIntegrator`; an `engine.Engine`.

    Replicas move in turn, each in a context of its own, with random numbers of its own. OpenMM's checkpoints are
    bound to the platform and the version that wrote them, and a run is resumed there only; at constant volume it goes
    on bit for bit, with a barostat, whose memory OpenMM does not save, in distribution.

    Args:
        system: force field, constraints included.
        integrator: time step, temperature and friction.
        n_replicas: how many copies.
        generator: seeds every replica's random numbers.
        precision: `single` takes OpenMM's quick platforms, `double` its Reference platform.
        threads: of the CPU platform; None for torch's number.
        device: `cpu` or `cuda`.
        pressure_bar: of a Monte-Carlo barostat; None for constant volume.

    Raises:
        MdgenError: if OpenMM has no such platform here, or pressure is asked of a system without a box.
    """

    def __init__(
        self,
        system: openmm.System,
        integrator: Langevin | VelocityVerlet,
        n_replicas: int,
        generator: torch.Generator,
        precision: Literal["single", "double"] = "single",
        threads: int | None = None,
        device: str = "cpu",
        pressure_bar: float | None = None,
    ) -> None:
        self.n_replicas, self.precision, self.integrator = n_replicas, precision, integrator
        self.pressure_bar = pressure_bar
        self._steps = 0
        system = openmm.XmlSerializer.clone(system)
        seeds = torch.randint(1, 2**31 - 1, (n_replicas, 2), generator=generator).tolist()
        temperatures = self._each(integrator.temperatures)
        platform, properties = _platform(precision, device, threads or torch.get_num_threads())
        barostat = _barostat(system, pressure_bar, temperatures[0])
        self._contexts = []
        # Some platforms draw all their random numbers from one source in the process: each replica keeps its state.
        self._kept: list[bytes] = []
        for (seed, pressure_seed), temperature in zip(seeds, temperatures, strict=True):
            mover = openmm.LangevinMiddleIntegrator(temperature, integrator.friction_per_ps, integrator.timestep_ps)
            mover.setRandomNumberSeed(seed)
            mover.setConstraintTolerance(_TOLERANCE)
            if barostat is not None:
                barostat.setRandomNumberSeed(pressure_seed)
            self._contexts.append(openmm.Context(system, mover, platform, properties))
            self._kept.append(self._contexts[-1].createCheckpoint())
        self._periodic = system.usesPeriodicBoundaryConditions()
        self._lost = [False] * n_replicas
        self.set_temperature(integrator.temperatures)

    @property
    def timestep_ps(self) -> float:
        """Length of a step."""
        return self.integrator.timestep_ps

    @property
    def temperature_K(self) -> float | list[float]:
        """One for all, or one a replica."""
        return self.integrator.temperatures

    @property
    def settings(self) -> dict[str, str | float | list[float]]:
        """Engine, precision, pressure and integrator."""
        pressure = {} if self.pressure_bar is None else {"pressure_bar": self.pressure_bar}
        return {"engine": "openmm", "precision": self.precision, **pressure, **self.integrator.settings}

    def prepare(self, state: State) -> None:
        """Go on from `state`."""
        n_atoms = self._contexts[0].getSystem().getNumParticles()
        if tuple(state.positions.shape) != (self.n_replicas, n_atoms, 3):
            raise MdgenError(
                f"a state of shape {tuple(state.positions.shape)} does not fit an engine of (replica, atom, 3) = "
                f"{(self.n_replicas, n_atoms, 3)}; make the engine for that molecule and number of replicas"
            )
        for replica, context in enumerate(self._contexts):
            context.loadCheckpoint(self._kept[replica])
            if state.cell is not None:
                context.setPeriodicBoxVectors(*np.diag(state.cell[replica].cpu().double().numpy()))
            context.setPositions(state.positions[replica].cpu().double().numpy())
            context.setVelocities(state.velocities[replica].cpu().double().numpy())
            self._kept[replica] = context.createCheckpoint()
        self._steps, self._lost = state.step, [False] * self.n_replicas

    def set_temperature(self, temperature_K: float | list[float]) -> None:
        """Change the temperature of thermostat and barostat from here on."""
        for context, temperature in zip(self._contexts, self._each(temperature_K), strict=True):
            context.getIntegrator().setTemperature(temperature)
            if self.pressure_bar is not None:
                context.setParameter(openmm.MonteCarloBarostat.Temperature(), temperature)

    def advance(self, n_steps: int) -> State:
        """Move on by `n_steps`."""
        for replica, context in enumerate(self._contexts):
            self._moved(replica, context, n_steps)
        self._steps += n_steps
        return self._state()

    def record(self, n_frames: int, steps_per_frame: int) -> Float[np.ndarray, "replica frame atom 3"]:
        """Move on by `n_frames * steps_per_frame` steps and return the frames."""
        frames = [self.advance(steps_per_frame).positions.float() for _ in range(n_frames)]
        return torch.stack(frames, 1).numpy()

    def potential_energy(self) -> Float[np.ndarray, "replica"]:
        """Potential energy in kJ/mol now."""
        energies = [
            np.nan if lost else context.getState(getEnergy=True).getPotentialEnergy()._value
            for context, lost in zip(self._contexts, self._lost, strict=True)
        ]
        return np.array(energies)

    def state_dict(self) -> dict[str, Tensor]:
        """OpenMM's checkpoint of every replica, the temperatures and the step."""
        kept = {
            f"checkpoint_{replica}": torch.frombuffer(bytearray(content), dtype=torch.uint8)
            for replica, content in enumerate(self._kept)
        }
        temperatures = [context.getIntegrator().getTemperature()._value for context in self._contexts]
        lost = torch.tensor(self._lost)
        return kept | {"temperature_K": torch.tensor(temperatures), "step": torch.tensor(self._steps), "lost": lost}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state_dict` gave, on the same platform and version of OpenMM.

        Raises:
            MdgenError: if they are others.
        """
        for replica, context in enumerate(self._contexts):
            try:
                self._kept[replica] = state[f"checkpoint_{replica}"].numpy().tobytes()
                context.loadCheckpoint(self._kept[replica])
            except (openmm.OpenMMException, KeyError) as error:
                raise MdgenError(
                    f"OpenMM cannot go on from its checkpoint ({error}); resume with the same number of replicas, "
                    "version and platform of OpenMM, or start in a new folder"
                ) from error
        self.set_temperature(state["temperature_K"].tolist())
        self._steps, self._lost = int(state["step"]), state["lost"].tolist()

    def _each(self, temperature_K: float | list[float]) -> list[float]:
        given = temperature_K if isinstance(temperature_K, list) else [temperature_K]
        if len(given) not in (1, self.n_replicas):
            raise MdgenError(
                f"temperature_K lists {len(given)} temperatures for {self.n_replicas} replicas; "
                "give one, or one a replica"
            )
        return given * self.n_replicas if len(given) == 1 else given

    def _moved(self, replica: int, context: openmm.Context, n_steps: int) -> None:
        if self._lost[replica]:
            return
        try:
            context.loadCheckpoint(self._kept[replica])
            context.getIntegrator().step(n_steps)
            self._kept[replica] = context.createCheckpoint()
        except openmm.OpenMMException as error:
            if "nan" not in str(error).lower():
                raise
            self._lost[replica] = True

    def _state(self) -> State:
        positions, velocities, cells = [], [], []
        for context, lost in zip(self._contexts, self._lost, strict=True):
            now = context.getState(getPositions=True, getVelocities=True)
            x = now.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
            v = now.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
            box = now.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)
            positions.append(torch.from_numpy(np.full_like(x, np.nan) if lost else np.array(x)))
            velocities.append(torch.from_numpy(np.array(v)))
            cells.append(torch.from_numpy(np.diag(box).copy()))
        cell = torch.stack(cells) if self._periodic else None
        return State(torch.stack(positions), torch.stack(velocities), self._steps, cell)


def _platform(precision: str, device: str, threads: int) -> tuple[openmm.Platform, dict[str, str]]:
    """The platform and its settings, such that a run can be repeated bit for bit."""
    if precision not in ("single", "double"):
        raise MdgenError(f"precision is {precision!r}, but must be one of single, double")
    name = "Reference" if precision == "double" else "CPU" if device == "cpu" else "CUDA"
    settings = {
        "Reference": {},
        "CPU": {"Threads": str(threads), "DeterministicForces": "true"},
        "CUDA": {"Precision": "mixed", "DeterministicForces": "true"},
    }
    try:
        return openmm.Platform.getPlatformByName(name), settings[name]
    except openmm.OpenMMException as error:
        raise MdgenError(f"OpenMM has no {name} platform here; take device=cpu, or install its CUDA plugin") from error


def _barostat(
    system: openmm.System, pressure_bar: float | None, temperature_K: float
) -> openmm.MonteCarloBarostat | None:
    """Add a barostat if asked to; its seed is for whoever makes the contexts."""
    if pressure_bar is None:
        return None
    if not system.usesPeriodicBoundaryConditions():
        raise MdgenError(
            f"pressure_bar is {pressure_bar}, but the system has no box to hold it; leave pressure_bar null"
        )
    barostat = openmm.MonteCarloBarostat(pressure_bar * unit.bar, temperature_K * unit.kelvin, _PERIOD)
    system.addForce(barostat)
    return barostat
