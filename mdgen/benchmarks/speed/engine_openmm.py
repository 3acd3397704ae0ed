"""OpenMM as a timed engine: one context with OpenMM's default settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import openmm.version

from mdgen.benchmarks.speed.start import FRICTION_PER_PS, TEMPERATURE_K, TIMESTEP_FS, Start

_PLATFORMS = {"openmm_reference": "Reference", "openmm_cpu": "CPU"}


def prepare(folder: Path, variant: dict[str, Any]) -> tuple[Callable[[int], Any], Callable[[], bool], str]:
    """Prepare a context on the platform and with the threads of `variant`."""
    start = Start.read(folder)
    name = _PLATFORMS[variant["engine"]]
    properties = {"Threads": str(variant["threads"])} if name == "CPU" else {}
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE_K, FRICTION_PER_PS, 1e-3 * TIMESTEP_FS)
    integrator.setRandomNumberSeed(variant["seed"])
    context = openmm.Context(start.system, integrator, openmm.Platform.getPlatformByName(name), properties)
    context.setPositions(start.positions)
    context.setVelocities(start.velocities)

    def is_finite() -> bool:
        positions = context.getState(getPositions=True).getPositions(asNumpy=True)._value
        return bool(np.isfinite(positions).all())

    return integrator.step, is_finite, f"OpenMM {openmm.version.version}"
