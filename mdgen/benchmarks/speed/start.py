"""The equilibrated start of every engine, in a folder that processes of any engine can read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
from jaxtyping import Float

from mdgen.files import write_aside

TIMESTEP_FS = 2.0
TEMPERATURE_K = 300.0
FRICTION_PER_PS = 1.0
"""Langevin dynamics of all engines."""

UNCONSTRAINED_FS = 1.0
"""Time step of an engine without constraints; flexible water is unstable at 2 fs."""

FORCE_FIELD, POSITIONS = "system.xml", "start.npz"


@dataclass(frozen=True)
class Start:
    """An equilibrated system.

    Args:
        system: force field with its constraints.
        positions: positions in nm.
        velocities: velocities in nm/ps.
        cell: edges of the periodic box in nm; empty without one.
    """

    system: openmm.System
    positions: Float[np.ndarray, "atom 3"]
    velocities: Float[np.ndarray, "atom 3"]
    cell: Float[np.ndarray, "edge"]

    def write(self, folder: Path) -> None:
        """Write the start into a folder."""
        write_aside(folder / FORCE_FIELD, openmm.XmlSerializer.serialize(self.system).encode())
        arrays = {"positions": self.positions, "velocities": self.velocities, "cell": self.cell}
        write_aside(folder / POSITIONS, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]

    @classmethod
    def read(cls, folder: Path) -> "Start":
        """Read a start from its folder."""
        system = openmm.XmlSerializer.deserialize((folder / FORCE_FIELD).read_text())
        with np.load(folder / POSITIONS, allow_pickle=False) as stored:
            return cls(system, stored["positions"], stored["velocities"], stored["cell"])


_LARGE = 1000
"""Atoms from which on OpenMM's Reference platform takes too long, and a short equilibration has to do."""


def thermalised(system: openmm.System, positions: Float[np.ndarray, "atom 3"]) -> Start:
    """Equilibrate a relaxed structure at `TEMPERATURE_K` with OpenMM."""
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE_K, 10.0, 1e-3 * TIMESTEP_FS)
    integrator.setRandomNumberSeed(1)
    periodic = system.usesPeriodicBoundaryConditions()
    large = system.getNumParticles() >= _LARGE
    platform = openmm.Platform.getPlatformByName("CPU" if periodic or large else "Reference")
    context = openmm.Context(system, integrator, platform)
    context.setPositions(positions)
    context.setVelocitiesToTemperature(TEMPERATURE_K, 1)
    integrator.step(100 if large else 1000)
    state = context.getState(getPositions=True, getVelocities=True)
    positions, velocities, box = (
        np.array(found._value)
        for found in (
            state.getPositions(asNumpy=True),
            state.getVelocities(asNumpy=True),
            state.getPeriodicBoxVectors(asNumpy=True),
        )
    )
    return Start(system, positions, velocities, np.diagonal(box).copy() if periodic else np.zeros(0))
