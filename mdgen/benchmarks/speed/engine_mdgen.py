"""mdgen as a timed engine: any of its engines, stepped as simulations step it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import mdgen
from mdgen.benchmarks.speed.start import FRICTION_PER_PS, TEMPERATURE_K, TIMESTEP_FS, Start
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import make_engine
from mdgen.md.systems.openmm_systems.openmm_loader import system_from_openmm

_KINDS: dict[str, Any] = {"mdgen_kernel": "kernel", "mdgen_torch": "torch"}


def prepare(folder: Path, variant: dict[str, Any]) -> tuple[Callable[[int], Any], Callable[[], bool], str]:
    """Prepare replicas that share their initial positions and have velocities of their own."""
    torch.set_num_threads(variant["threads"])
    start, n = Start.read(folder), variant["replicas"]
    system = system_from_openmm(start.system, torch.from_numpy(start.positions))
    generator = torch.Generator(variant["device"]).manual_seed(variant["seed"])
    integrator = Langevin(TIMESTEP_FS, TEMPERATURE_K, FRICTION_PER_PS)
    state = initial_state(system, n, integrator.temperature_K, generator)
    engine = make_engine(
        system,
        integrator,
        n,
        generator,
        kind=_KINDS[variant["engine"]],
        precision=variant["precision"],
        threads=variant["threads"],
        device=variant["device"],
    )
    engine.prepare(state)

    def advance(steps: int) -> None:
        engine.advance(steps)
        if torch.device(variant["device"]).type == "cuda":
            torch.cuda.synchronize()  # calls on a GPU return before the work is done

    def is_finite() -> bool:
        return bool(engine.advance(0).positions.isfinite().all())

    return advance, is_finite, f"mdgen {mdgen.__version__}, torch {torch.__version__}"
