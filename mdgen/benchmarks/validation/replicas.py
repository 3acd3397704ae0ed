"""Accuracy of constraints, independence of replicas, exactness of restarts."""

import torch

from mdgen.benchmarks.suite import Figures
from mdgen.benchmarks.validation.parity import boxed_peptide
from mdgen.interfaces import System
from mdgen.md.dynamics.constraints import DistanceConstraints
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import Engine, make_engine
from mdgen.md.systems.build import build_system
from mdgen.results import Acceptance, Estimate

_ENGINES = [("kernel", "single"), ("kernel", "double"), ("torch", "double")]


def _engines() -> list[tuple[str, System, str, str]]:
    """Names, systems, engines and precisions: a molecule with each, and a box with its kernel."""
    molecule = build_system(sequence="A", force_field="amber14", hydrogen_mass_amu=None, solvent="obc2")
    box = ("box_kernel_single", boxed_peptide(), "kernel", "single")
    return [*((f"{kind}_{precision}", molecule, kind, precision) for kind, precision in _ENGINES), box]


def check_constraints(n_steps: int = 10_000) -> Figures:
    """Largest relative error of a constrained distance after many steps of the kernel engine."""
    system = build_system(sequence="A", force_field="amber14", hydrogen_mass_amu=None, solvent="obc2")
    held = system.constraints
    assert isinstance(held, DistanceConstraints)
    rows = []
    for precision in ("single", "double"):
        engine = _started(system, "kernel", precision, 16)
        error = float(held.largest_error(engine.advance(n_steps).positions.double()).max())
        rows.append(Acceptance.below(f"constraint_error_after_{n_steps}_steps_{precision}", Estimate(error), 1e-5))
    return {}, rows


def check_independence(n_steps: int = 200) -> Figures:
    """Number of replicas that change in any bit when another one is displaced or becomes NaN."""
    rows = []
    for engine, system, kind, precision in _engines():
        steps = n_steps if kind == "kernel" else n_steps // 10
        plain = _started(system, kind, precision, 5).advance(steps).positions
        for how, push in (("pushed", 0.01), ("lost", float("nan"))):
            other = _started(system, kind, precision, 5, push).advance(steps).positions
            rest = [0, 1, 3, 4]
            changed = sum(not torch.equal(plain[i], other[i]) for i in rest)
            holds = changed == 0 and not torch.equal(plain[2], other[2])
            name = f"replicas_changed_when_one_is_{how}_{engine}"
            rows.append(Acceptance.judged(name, Estimate(changed), "== 0", holds))
    return {}, rows


def check_restart() -> Figures:
    """Number of coordinates that differ in any bit between 100 steps and 50 + 50 with a save and load between."""
    rows = []
    for engine, system, kind, precision in _engines():
        whole = _started(system, kind, precision, 3).advance(100)
        half = _started(system, kind, precision, 3)
        half.advance(50)
        resumed = _started(system, kind, precision, 3, seed=99)
        resumed.load_state_dict(half.state_dict())
        after = resumed.advance(50)
        differ = sum(int((getattr(whole, part) != getattr(after, part)).sum()) for part in ("positions", "velocities"))
        rows.append(
            Acceptance.judged(f"coordinates_changed_by_a_restart_{engine}", Estimate(differ), "== 0", differ == 0)
        )
    return {}, rows


def _started(system: System, kind: str, precision: str, n_replicas: int, push: float = 0.0, seed: int = 7) -> Engine:
    """A prepared engine with atom 0 of the third replica displaced by `push` nm."""
    generator, integrator = torch.Generator().manual_seed(seed), Langevin(2.0, 300.0, 1.0)
    engine = make_engine(system, integrator, n_replicas, generator, kind=kind, precision=precision)  # type: ignore[arg-type]
    state = initial_state(system, n_replicas, engine.temperature_K, torch.Generator().manual_seed(1))
    if push:
        state.positions[2, 0] += push
    engine.prepare(state)
    return engine
