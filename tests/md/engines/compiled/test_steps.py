"""Compiled steps: the same trajectory as uncompiled ones, however they are cut, resumed, and whoever else moves."""

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import Potential, State
from mdgen.md.dynamics.constraints import distance_constraints
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.overdamped import OverdampedLangevin
from mdgen.md.dynamics.thermostatted import Thermostatted
from mdgen.md.dynamics.velocities import maxwell_boltzmann
from mdgen.md.engines.engine import Engine, make_engine
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.md.force_field.restraints import DistanceRestraints
from mdgen.md.systems.build import MolecularSystem, build_system
from mdgen.md.systems.openmm_loader import box_edges, load_openmm_system
from tests.md.reference import alanine_dipeptide
from tests.md.water import water_box

needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="torch.compile needs a C++ compiler; there is none"
)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
REPLICAS = 3


def engine_of(
    p: ForceFieldParameters,
    integrator: Thermostatted | None = None,
    precision: str = "double",
    extra: Sequence[Potential] = (),
    compile: bool = True,
    device: str = "cpu",
) -> Engine:
    integrator = integrator or Langevin(0.5, 300.0)
    generator = torch.Generator().manual_seed(3)
    return make_engine(
        p,
        integrator,
        REPLICAS,
        generator,
        precision=precision,
        extra=extra,
        compile=compile,
        device=device,
        kind="torch",
    )


def start_of(p: ForceFieldParameters, x: torch.Tensor, cell: torch.Tensor | None = None) -> State:
    held = distance_constraints(p.masses, p.constraint_atoms, p.constraint_length, 1e-10)
    x = held.positions(x, x).repeat(REPLICAS, 1, 1)
    velocities = maxwell_boltzmann(x, p.masses, 300.0, torch.Generator().manual_seed(1), held)
    return State(x, velocities, 990, None if cell is None else cell.expand(REPLICAS, 3))


def started(system: MolecularSystem, **changes: object) -> Engine:
    engine = engine_of(system.parameters, **changes)
    engine.prepare(start_of(system.parameters, system.positions[None]))
    return engine


@pytest.fixture(scope="module")
def engine() -> Engine:
    """Compiled once, in double precision, and put back to its start by loading its state."""
    return started(alanine_dipeptide("none"))


@pytest.fixture(scope="module")
def start(engine: Engine) -> dict[str, torch.Tensor]:
    return engine.state_dict()


@needs_compiler
def test_it_goes_where_uncompiled_steps_go(engine: Engine, start: dict[str, torch.Tensor]) -> None:
    engine.load_state_dict(start)
    # Step 1000, where the molecule is put back to the origin, lies on the way.
    found, expected = engine.advance(20), started(alanine_dipeptide("none"), compile=False).advance(20)
    assert found.step == expected.step == 1010
    torch.testing.assert_close(found.positions, expected.positions, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.velocities, expected.velocities, rtol=0, atol=1e-9)
    assert engine.settings["engine"] == "torch, compiled"


@needs_compiler
def test_cuts_and_restarts_change_no_bit(engine: Engine, start: dict[str, torch.Tensor]) -> None:
    engine.load_state_dict(start)
    whole = engine.advance(30)
    engine.load_state_dict(start)
    engine.record(2, 7)
    kept = engine.state_dict()
    engine.advance(5)
    engine.load_state_dict(kept)
    assert torch.equal(engine.advance(16).positions, whole.positions)


@needs_compiler
@pytest.mark.parametrize("push", [0.01, float("nan")])
def test_replicas_do_not_talk(engine: Engine, start: dict[str, torch.Tensor], push: float) -> None:
    engine.load_state_dict(start)
    plain = engine.advance(20).positions
    pushed = {**start, "positions": start["positions"].clone()}
    pushed["positions"][1, 0] += push
    engine.load_state_dict(pushed)
    found = engine.advance(20).positions
    assert torch.equal(found[[0, 2]], plain[[0, 2]])
    assert not torch.equal(found[1], plain[1])


@needs_compiler
def test_the_temperature_can_change(engine: Engine, start: dict[str, torch.Tensor]) -> None:
    engine.load_state_dict(start)
    engine.set_temperature([300.0, 600.0, 300.0])
    found = engine.advance(5).positions
    engine.load_state_dict(start)
    plain = engine.advance(5).positions
    assert torch.equal(found[[0, 2]], plain[[0, 2]])
    assert not torch.equal(found[1], plain[1])


class Looks:
    """A potential that looks at a value, or leaves torch."""

    def __init__(self, how: str) -> None:
        self.how = how

    def energy(self, positions: torch.Tensor, cell: torch.Tensor | None = None) -> torch.Tensor:
        if self.how == "branch":
            return positions.sum((1, 2)) if float(positions.detach().max()) > 0 else positions[:, 0, 0]
        return torch.from_numpy(positions.detach().numpy()).sum((1, 2)) + positions.sum((1, 2))


@pytest.mark.parametrize("how", ["branch", "numpy"])
def test_potentials_that_cannot_be_traced_are_refused(how: str) -> None:
    engine = started(alanine_dipeptide("none"), extra=[Looks(how)])
    with pytest.raises(MdgenError, match=r"an added potential does more than .* use compile=false"):
        engine.advance(1)


@pytest.mark.slow
def test_a_missing_compiler_is_named(tmp_path: Path) -> None:
    """In a process of its own, since torch remembers the compiler that it found."""
    program = """
        from tests.md.engines.compiled.test_steps import alanine_dipeptide, started
        started(alanine_dipeptide("none")).advance(1)
    """
    environment = {**os.environ, "CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.returncode != 0
    assert "compile=true needs a C++ compiler such as g++" in done.stderr.splitlines()[-1]


def test_other_engines_do_not_compile() -> None:
    p = alanine_dipeptide().parameters
    with pytest.raises(MdgenError, match="compile=true is for engine=torch, but engine is kernel"):
        make_engine(p, Langevin(2.0, 300.0), 2, torch.Generator(), kind="kernel", compile=True)


def assert_same_way(p: ForceFieldParameters, start: State, n_steps: int, atol: float, **changes: object) -> None:
    ways = []
    for compiled in (True, False):
        engine = engine_of(p, compile=compiled, **changes)
        engine.prepare(start)
        ways.append(engine.advance(n_steps))
    torch.testing.assert_close(ways[0].positions, ways[1].positions, rtol=0, atol=atol)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(("precision", "atol"), [("double", 1e-7), ("single", 2e-5)])
@pytest.mark.parametrize("solvent", ["obc2", "gbn2"])
def test_constraints_and_solvent_go_the_same_way(solvent: str, precision: str, atol: float) -> None:
    """As near as the uncompiled constraints are met, 1e-6 of a bond."""
    system = build_system("A", solvent=solvent)
    start = start_of(system.parameters, system.positions[None])
    assert_same_way(system.parameters, start, 20, atol, integrator=Langevin(2.0, 300.0), precision=precision)


@needs_compiler
@pytest.mark.slow
def test_overdamped_steps_and_added_potentials_go_the_same_way() -> None:
    system = alanine_dipeptide()
    start = start_of(system.parameters, system.positions[None])
    spring = DistanceRestraints(torch.tensor([[0, 21]]), torch.tensor([0.5], dtype=torch.float64), 1000.0)
    integrator = OverdampedLangevin(0.2, [300.0, 310.0, 320.0])
    assert_same_way(system.parameters, start, 20, 1e-7, integrator=integrator, extra=[spring])


@needs_compiler
@pytest.mark.slow
def test_a_box_of_rigid_water_goes_the_same_way() -> None:
    system, _, x = water_box(1.3, 0.6, 0.5)
    p, edges = load_openmm_system(system), box_edges(system)
    assert edges is not None
    assert_same_way(p, start_of(p, x, edges), 10, 1e-6, integrator=Langevin(0.5, 300.0))


@needs_compiler
@pytest.mark.slow
def test_constraints_do_not_drift() -> None:
    p = alanine_dipeptide().parameters
    engine = started(alanine_dipeptide(), integrator=Langevin(2.0, 300.0), precision="single")
    held = distance_constraints(p.masses, p.constraint_atoms, p.constraint_length)
    assert float(held.largest_error(engine.advance(2000).positions.double()).max()) < 1e-5


@needs_cuda
@pytest.mark.gpu
def test_cuda_goes_the_same_way_and_is_resumed_bit_for_bit() -> None:
    system = build_system("A", solvent="obc2")
    engine = started(system, integrator=Langevin(2.0, 300.0), precision="single", device="cuda")
    start = engine.state_dict()
    whole = engine.advance(50).positions
    engine.load_state_dict(start)
    engine.advance(19)  # a graph of sixteen steps and three single ones
    kept = engine.state_dict()
    engine.advance(3)
    engine.load_state_dict(kept)
    assert torch.equal(engine.advance(31).positions, whole)
    pushed = {**start, "positions": start["positions"].clone()}
    pushed["positions"][1, 0] += float("nan")
    engine.load_state_dict(pushed)
    assert torch.equal(engine.advance(50).positions[[0, 2]], whole[[0, 2]])


@needs_cuda
@pytest.mark.gpu
def test_cuda_goes_where_the_processor_goes_without_noise() -> None:
    system = build_system("A", solvent="obc2")
    ways = [
        started(system, integrator=Langevin(2.0, 300.0, 0.0), device=device).advance(20).positions.cpu()
        for device in ("cuda", "cpu")
    ]
    torch.testing.assert_close(ways[0], ways[1], rtol=0, atol=1e-9)
