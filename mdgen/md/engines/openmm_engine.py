"""OpenMM as the engine: whatever force OpenMM has, explicit solvent with PME, and constant pressure."""

from typing import Any

import numpy as np
import openmm
import torch
from jaxtyping import Float
from openmm import unit
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Integrator, State, System
from mdgen.md.dynamics.integrators import VelocityVerlet
from mdgen.md.dynamics.velocities import require_one_each
from mdgen.md.engines.base_engine import Engine, Recording, beyond_langevin
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.openmm_potential import OpenMMPotential
from mdgen.md.systems.openmm_systems.openmm_born import with_gbsa_force
from mdgen.units import COULOMB_OPENMM

_TOLERANCE = 1e-6
_PERIOD = 25
"""Steps between two attempts of the barostat."""


class OpenMMEngine(Engine):
    """Langevin dynamics by OpenMM's `LangevinMiddleIntegrator`, of force fields and of any `OpenMMPotential`.

    Replicas move in turn, each in a context of its own, with random numbers of its own. OpenMM's checkpoints are bound
    to the platform and the version that wrote them, and a run is resumed there only: at constant volume bit for bit;
    with a barostat, whose state OpenMM does not save, in distribution.

    Single precision uses OpenMM's fast platforms, double its Reference platform.

    Raises:
        MdgenError: if OpenMM has no such platform here, or a pressure is given for a system without a box.
    """

    name = "openmm"

    def _set_up(self, system: System, integrator: Any, generator: torch.Generator, threads: int, device: str) -> None:
        self._steps = 0
        assert isinstance(system.potential, ForceField | OpenMMPotential)
        copy = openmm.XmlSerializer.clone(system.potential.openmm_system)
        if isinstance(system.potential, ForceField):
            copy = with_gbsa_force(copy, system.potential.parameters)
        _take_masses_and_constraints(copy, system)
        seeds = torch.randint(1, 2**31 - 1, (self.n_replicas, 2), generator=generator).tolist()
        temperatures = self._each(integrator.temperature_K)
        platform, properties = _platform(self.precision, device, threads)
        barostat = _barostat(copy, self.pressure_bar, temperatures[0])
        self._contexts = []
        # Some platforms draw all their random numbers from one source in the process: each replica keeps its state.
        self._kept: list[bytes] = []
        for (seed, pressure_seed), temperature in zip(seeds, temperatures, strict=True):
            mover = openmm.LangevinMiddleIntegrator(temperature, integrator.friction_per_ps, integrator.timestep_ps)
            mover.setRandomNumberSeed(seed)
            mover.setConstraintTolerance(_TOLERANCE)
            if barostat is not None:
                barostat.setRandomNumberSeed(pressure_seed)
            try:
                self._contexts.append(openmm.Context(copy, mover, platform, properties))
            except openmm.OpenMMException as error:
                raise MdgenError(f"OpenMM cannot use the system ({' '.join(str(error).split())}); mend it") from error
            self._kept.append(self._contexts[-1].createCheckpoint())
        self._periodic, self._edges_suffice = copy.usesPeriodicBoundaryConditions(), system.cell is not None
        self._lost = [False] * self.n_replicas
        self.set_temperature(integrator.temperature_K)

    @classmethod
    def lacks(
        cls, system: System, integrator: Integrator, device: str = "cpu", pressure_bar: float | None = None
    ) -> str | None:
        """What OpenMM does not have here of what is asked for, in words; None if it has everything."""
        beyond, potential = beyond_langevin(integrator), system.potential
        if beyond is not None:
            return beyond
        if not isinstance(potential, ForceField | OpenMMPotential):
            return f"the potential {type(potential).__name__} (only a force field or OpenMMPotential, nothing added)"
        if potential.openmm_system is None:
            return "the force field as an openmm.System"
        if isinstance(potential, ForceField) and potential.parameters.coulomb_constant != COULOMB_OPENMM:
            return "another constant of Coulomb's law than its own (coulomb=amber)"
        if pressure_bar is not None and isinstance(integrator, VelocityVerlet):
            return "a barostat without a thermostat (integrator=verlet has none)"
        return None

    def prepare(self, state: State) -> None:
        """Continue from `state`."""
        self._require_shape(state)
        for replica, context in enumerate(self._contexts):
            context.loadCheckpoint(self._kept[replica])
            if state.cell is not None:
                context.setPeriodicBoxVectors(*np.diag(state.cell[replica].cpu().double().numpy()))
            context.setPositions(state.positions[replica].cpu().double().numpy())
            context.computeVirtualSites()
            context.setVelocities(state.velocities[replica].cpu().double().numpy())
            self._kept[replica] = context.createCheckpoint()
        self._steps, self._lost = state.step, [False] * self.n_replicas

    def set_temperature(self, temperature_K: Float[Tensor, "temperature"]) -> None:
        """Change the temperature of thermostat and barostat from here on."""
        for context, temperature in zip(self._contexts, self._each(temperature_K), strict=True):
            context.getIntegrator().setTemperature(temperature)
            if self.pressure_bar is not None:
                context.setParameter(openmm.MonteCarloBarostat.Temperature(), temperature)

    def advance(self, n_steps: int) -> State:
        """Advance by `n_steps`."""
        for replica, context in enumerate(self._contexts):
            self._moved(replica, context, n_steps)
        self._steps += n_steps
        return self._state()

    def record(self, n_frames: int, steps_per_frame: int) -> Recording:
        """Advance by `n_frames * steps_per_frame` steps and return the frames, with boxes of whatever shape."""
        frames, boxes = [], []
        for _ in range(n_frames):
            frames.append(self.advance(steps_per_frame).positions.float().numpy())
            boxes.append(np.stack([_box_vectors(context.getState()) for context in self._contexts]))
        cells = np.stack(boxes, 1).astype(np.float32) if self._periodic else None
        return Recording(np.stack(frames, 1), cells)

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
        return kept | {
            "temperature_K": torch.tensor(temperatures, dtype=torch.float64),
            "step": torch.tensor(self._steps),
            "lost": torch.tensor(self._lost),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` gave, on the same platform and version of OpenMM.

        Raises:
            MdgenError: if they are others.
        """
        for replica, context in enumerate(self._contexts):
            try:
                self._kept[replica] = state[f"checkpoint_{replica}"].numpy().tobytes()
                context.loadCheckpoint(self._kept[replica])
            except (openmm.OpenMMException, KeyError) as error:
                raise MdgenError(
                    f"OpenMM cannot continue from its checkpoint ({error}); resume with the same number of replicas, "
                    "version and platform of OpenMM, or start in a new folder"
                ) from error
        self.set_temperature(state["temperature_K"])
        self._steps, self._lost = int(state["step"]), state["lost"].tolist()

    def _each(self, temperature_K: Float[Tensor, "temperature"]) -> list[float]:
        return require_one_each(temperature_K, self.n_replicas).expand(self.n_replicas).tolist()

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
            positions.append(torch.from_numpy(np.full_like(x, np.nan) if lost else np.array(x)))
            velocities.append(torch.from_numpy(np.array(v)))
            cells.append(torch.from_numpy(np.diag(_box_vectors(now)).copy()))
        cell = torch.stack(cells) if self._edges_suffice else None
        return State(torch.stack(positions), torch.stack(velocities), self._steps, cell)


def _box_vectors(state: openmm.State) -> Float[np.ndarray, "3 3"]:
    return np.array(state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer))


def _platform(precision: str, device: str, threads: int) -> tuple[openmm.Platform, dict[str, str]]:
    """The platform and its settings, such that a run can be repeated bit for bit."""
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


def _take_masses_and_constraints(copy: openmm.System, system: System) -> None:
    """Give OpenMM's copy those of the system, which may be others than at loading; atoms that never move weigh 0."""
    for atom, mass in enumerate(system.masses.tolist()):
        copy.setParticleMass(atom, 0.0 if mass == float("inf") else mass)
    for index in reversed(range(copy.getNumConstraints())):
        copy.removeConstraint(index)
    if system.constraints is not None:
        for atoms, length in zip(system.constraints.atoms.tolist(), system.constraints.lengths.tolist(), strict=True):
            copy.addConstraint(*atoms, length)


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
