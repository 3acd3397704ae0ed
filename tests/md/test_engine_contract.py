"""What every engine promises, run over all of them: energies, forces, restarts, independence, temperatures."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.geometry.dihedrals import bond_lengths
from mdgen.interfaces import Integrator, State, System
from mdgen.md.dynamics.constraints import with_masses
from mdgen.md.dynamics.integrators import Langevin, VelocityVerlet
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import ENGINES, Engine, make_engine, passed_over
from mdgen.md.engines.kernel_engine import KernelEngine
from mdgen.md.engines.lanes.box.box_kernel import BoxKernel
from mdgen.md.engines.lanes.molecule.molecule_kernel import MoleculeKernel
from mdgen.md.engines.openmm_engine import OpenMMEngine
from mdgen.md.engines.torch_engine import TorchEngine
from mdgen.md.force_field.forces import energy_and_forces
from mdgen.md.systems.salt_water import salt_water_box
from tests.md.engines.lanes.systems import peptide
from tests.md.reference import alanine_dipeptide, kinetic_temperature


@cache
def brine() -> System:
    """A periodic box of flexible water with a pair of ions."""
    return salt_water_box(20, 1, 0.9, 0.42, 0.36, torch.Generator().manual_seed(0))


def charmm(constraints: str = "hbonds") -> System:
    """ACE-ALA-NME with correction maps, impropers and a table of pairs."""
    return peptide("A", "vacuum", constraints, force_field="charmm36")


def larger(constraints: str = "hbonds") -> System:
    """A peptide so large that few replicas of it run one by one."""
    return peptide("WDMKWD", "vacuum", constraints)


CASES: dict[str, tuple[type[Engine], Callable[..., System]]] = {
    "kernel": (KernelEngine, alanine_dipeptide),
    "charmm_kernel": (KernelEngine, charmm),
    "molecule_kernel": (KernelEngine, larger),
    "box_kernel": (KernelEngine, brine),
    "torch": (TorchEngine, alanine_dipeptide),
    "torch_box": (TorchEngine, brine),
    "openmm": (OpenMMEngine, alanine_dipeptide),
    "openmm_box": (OpenMMEngine, brine),
}
NAMES = {"charmm_kernel": "kernel", "torch_box": "torch", "openmm_box": "openmm"}
"""What settings call the engine of a case, where that is not the name of the case."""
every_engine = pytest.mark.parametrize("case", CASES)


def engine_of(case: str, seed: int = 1, replicas: int = 3, integrator: Integrator | None = None) -> Engine:
    make, system = CASES[case]
    generator = torch.Generator().manual_seed(seed)
    return make(system(), integrator or Langevin(1.0, 300.0, 5.0), replicas, generator, "double", 1)


def start_of(case: str, replicas: int = 3) -> State:
    system = CASES[case][1]()
    return initial_state(system, replicas, torch.tensor([300.0]), torch.Generator().manual_seed(2))


def started(case: str, seed: int = 1, **settings: object) -> Engine:
    engine = engine_of(case, seed, **settings)
    engine.prepare(start_of(case, engine.n_replicas))
    return engine


def test_every_engine_is_here() -> None:
    assert {make for make, _ in CASES.values()} == set(ENGINES.values())


@every_engine
def test_settings_name_what_runs(case: str) -> None:
    assert engine_of(case).settings["engine"] == NAMES.get(case, case)
    assert NAMES.get(case, case) in {*ENGINES, MoleculeKernel.name, BoxKernel.name}


@every_engine
def test_it_is_an_engine_and_has_the_energy_of_the_potential(case: str) -> None:
    engine, state, system = started(case), start_of(case), CASES[case][1]()
    assert isinstance(engine, Engine)
    expected = system.potential.energy(state.positions, state.cell)
    np.testing.assert_allclose(engine.potential_energy(), expected.numpy(), rtol=0, atol=2e-3)


@every_engine
def test_its_first_step_shows_the_forces_of_the_potential(case: str) -> None:
    """From rest, leapfrog moves an atom by `F dt^2 / m`, velocity Verlet by half of that."""
    make, of = CASES[case]
    system = of() if of is brine else of("none")
    engine = make(system, VelocityVerlet(1.0), 2, torch.Generator(), "double", 1)
    generator = torch.Generator().manual_seed(4)
    x = system.positions.repeat(2, 1, 1)
    x = x + 0.005 * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    cell = None if system.cell is None else system.cell.expand(2, 3)
    engine.prepare(State(x, torch.zeros_like(x), cell=cell))
    before, after = engine.advance(0).positions, engine.advance(1).positions
    factor = 2.0 if make is TorchEngine else 1.0
    found = factor * (after - before).double() * system.masses[:, None] / engine.timestep_ps**2
    expected = energy_and_forces(system.potential, x, cell)[1]
    assert float((found - expected).norm() / expected.norm()) < 2e-5


@every_engine
def test_a_restart_and_how_steps_are_divided_change_no_bit(case: str) -> None:
    whole, parts, other = started(case), started(case), engine_of(case, seed=9)
    end = whole.advance(30)
    parts.advance(11)
    other.load_state_dict(parts.state_dict())
    frames = parts.record(2, 7).frames
    assert frames.shape == (3, 2, *end.positions.shape[1:])
    for resumed in (parts.advance(5), other.advance(19)):
        assert resumed.step == end.step == 30
        assert torch.equal(resumed.positions, end.positions)
        assert torch.equal(resumed.velocities, end.velocities)
    assert not torch.equal(end.positions[0], end.positions[1])  # their random numbers differ


@every_engine
@pytest.mark.parametrize("push", [0.01, float("nan")])
def test_replicas_are_independent(case: str, push: float) -> None:
    plain, other = started(case), engine_of(case)
    state = start_of(case)
    state.positions[1, 0] += push
    other.prepare(state)
    expected, found = (engine.record(2, 10).frames for engine in (plain, other))
    assert np.array_equal(expected[[0, 2]], found[[0, 2]])
    assert not np.array_equal(expected[1], found[1])
    assert np.isnan(other.potential_energy()).tolist() == [False, bool(np.isnan(push)), False]


@every_engine
def test_every_replica_has_its_temperature(case: str) -> None:
    system = CASES[case][1]()
    cold_and_hot = torch.tensor([200.0, 200.0, 600.0, 600.0], dtype=torch.float64)
    engine = started(case, replicas=4, integrator=Langevin(1.0, cold_and_hot, 50.0))
    assert engine.temperature_K.tolist() == engine.settings["temperature_K"] == cold_and_hot.tolist()
    engine.advance(60)
    n_constraints = 0 if system.constraints is None else len(system.constraints.lengths)

    def mean_temperature() -> list[float]:
        found = [
            kinetic_temperature(engine.advance(10).velocities.double(), system.masses, n_constraints) for _ in range(20)
        ]
        return torch.stack(found).mean(0).tolist()

    first, second, third, fourth = mean_temperature()
    assert 150 < min(first, second) <= max(first, second) < 300 < 450 < min(third, fourth)
    engine.set_temperature(cold_and_hot.flip(0))
    engine.advance(60)
    first, second, third, fourth = mean_temperature()
    assert min(first, second) > 450
    assert max(third, fourth) < 300


@every_engine
def test_what_does_not_fit_is_named(case: str) -> None:
    engine = engine_of(case)
    with pytest.raises(MdgenError, match=r"\(4, \d+, 3\).*\(3, \d+, 3\)"):
        engine.prepare(start_of(case, 4))
    for settings, complaint in (
        ({"replicas": 0}, "n_replicas is 0"),
        ({"integrator": Langevin(1.0, [300.0, 310.0])}, "2 temperatures for 3 replicas"),
    ):
        with pytest.raises(MdgenError, match=complaint):
            engine_of(case, **settings)
    with pytest.raises(MdgenError, match="precision is 'half'"):
        CASES[case][0](CASES[case][1](), Langevin(1.0, 300.0), 1, torch.Generator(), "half")


def test_auto_takes_the_fastest_that_lacks_nothing() -> None:
    integrator, generator = Langevin(1.0, 300.0), torch.Generator()
    assert list(ENGINES) == ["kernel", "torch", "openmm"]
    assert isinstance(make_engine(alanine_dipeptide(), integrator, 1, generator, threads=1), KernelEngine)
    for solvent, force_field in (("gbn2", "amber19"), ("vacuum", "charmm36"), ("obc2", "charmm36")):
        mapped = peptide("A", solvent, force_field=force_field)
        assert mapped.potential.parameters.cmap is not None
        assert passed_over(mapped, integrator) == {}
    with pytest.raises(MdgenError, match="engine is 'gpu', but must be one of auto, kernel, torch, openmm"):
        make_engine(alanine_dipeptide(), integrator, 1, generator, kind="gpu")  # type: ignore[arg-type]
    with pytest.raises(MdgenError, match="device is 'tpu'"):
        make_engine(alanine_dipeptide(), integrator, 1, generator, device="tpu")


@every_engine
def test_masses_and_constraints_are_those_of_the_system(case: str) -> None:
    make, build = CASES[case]
    system = build()
    masses = system.masses.clone()
    masses[: len(masses) // 2] *= 1e8
    changed, start = replace(system, masses=masses, constraints=None), start_of(case)
    held = range(len(masses) // 2)
    generator = torch.Generator().manual_seed(1)
    engine = make(changed, Langevin(0.2, 300.0, 5.0), 3, generator, "double", 1)
    still = initial_state(changed, 3, torch.tensor([300.0]), generator, start.positions)
    engine.prepare(still)
    moved = torch.as_tensor(engine.advance(100).positions) - start.positions
    moved -= moved[:, held].mean(1, keepdim=True)  # kernels move the centre of a molecule
    assert float(moved[:, held].abs().max()) < 1e-4
    assert float(moved[:, len(held) :].square().mean().sqrt()) > 2e-3
    if system.constraints is not None:
        free = (bond_lengths(start.positions + moved, system.constraints.atoms) - system.constraints.lengths).abs()
        assert float(free.max()) > 1e-3


@pytest.mark.parametrize("case", ["kernel", "molecule_kernel", "torch", "openmm"])
def test_changed_masses_keep_the_temperature_and_the_constraints(case: str) -> None:
    make, build = CASES[case]
    system = build()
    masses = system.masses.clone()
    masses[::3] *= 20
    changed = with_masses(system, masses)
    held = changed.constraints
    assert held is not None
    generator = torch.Generator().manual_seed(1)
    engine = make(changed, Langevin(1.0, 300.0, 50.0), 16, generator, "double", 1)
    engine.prepare(initial_state(changed, 16, torch.tensor([300.0]), generator))
    engine.advance(200)
    found = []
    for _ in range(20):
        state = engine.advance(20)
        velocities = torch.as_tensor(state.velocities)
        found.append(kinetic_temperature(velocities, masses, len(held.atoms)).mean())
    assert float(torch.stack(found).mean()) == pytest.approx(300, rel=0.06)
    assert float((bond_lengths(torch.as_tensor(state.positions), held.atoms) - held.lengths).abs().max()) < 1e-4


def test_the_kernel_leaves_atoms_that_never_move_to_others() -> None:
    system = alanine_dipeptide()
    masses = system.masses.clone()
    masses[:3] = torch.inf
    assert KernelEngine.lacks(replace(system, masses=masses), Langevin(1.0, 300.0, 5.0)) == "atoms of infinite mass"
