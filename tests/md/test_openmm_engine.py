"""OpenMM as an engine: the same protocol, PME, pressure, bitwise restarts, and NaN that stays in its replica."""

from functools import cache

import numpy as np
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import State
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.velocities import kinetic_temperature, maxwell_boltzmann
from mdgen.md.engines.engine import Engine, make_engine
from mdgen.md.engines.openmm_engine import OpenMMEngine
from mdgen.md.systems.build import MolecularSystem, build_system
from tests.md.reference import alanine_dipeptide


@cache
def solvated() -> MolecularSystem:
    return build_system(sequence="A", solvent="tip3pfb", long_range="pme", padding_nm=0.5, cutoff_nm=0.6)


def started(engine: Engine, system: MolecularSystem, n: int = 1, seed: int = 0) -> None:
    x = system.positions.expand(n, -1, -1).clone()
    velocities = maxwell_boltzmann(x, system.parameters.masses, 300.0, torch.Generator().manual_seed(seed))
    engine.prepare(State(x, velocities, cell=None if system.cell is None else system.cell.expand(n, 3)))


def vacuum_engine(seed: int, n: int = 2, precision: str = "double", temperature_K=300.0) -> OpenMMEngine:
    settings = Langevin(2.0, temperature_K, 1.0)
    return OpenMMEngine(
        alanine_dipeptide().openmm_system, settings, n, torch.Generator().manual_seed(seed), precision, threads=1
    )


@pytest.mark.parametrize("precision", ["single", "double"])
def test_a_resumed_run_is_the_same_bit_for_bit(precision: str) -> None:
    one, two, three = (vacuum_engine(seed, precision=precision) for seed in (1, 1, 7))
    assert isinstance(one, Engine)
    started(one, alanine_dipeptide(), 2)
    started(two, alanine_dipeptide(), 2)
    whole = one.advance(100)
    two.advance(37)
    three.load_state_dict(two.state_dict())
    resumed = three.advance(63)
    assert resumed.step == whole.step == 100
    assert torch.equal(resumed.positions, whole.positions)
    assert not torch.equal(whole.positions[0], whole.positions[1])  # their random numbers differ


def test_every_replica_has_its_temperature() -> None:
    engine = vacuum_engine(3, temperature_K=[200.0, 600.0])
    started(engine, alanine_dipeptide(), 2)
    p = alanine_dipeptide().parameters
    engine.advance(500)
    found = [kinetic_temperature(engine.advance(20).velocities, p.masses, len(p.constraint_length)) for _ in range(150)]
    cold, warm = torch.stack(found).mean(0).tolist()
    assert cold < 320 < 450 < warm


def test_a_lost_replica_harms_no_other() -> None:
    one, two = vacuum_engine(1), vacuum_engine(1)
    started(one, alanine_dipeptide(), 2)
    x = alanine_dipeptide().positions.expand(2, -1, -1).clone()
    velocities = maxwell_boltzmann(x, alanine_dipeptide().parameters.masses, 300.0, torch.Generator().manual_seed(0))
    x[0, 3] = float("nan")
    two.prepare(State(x, velocities))
    frames = two.record(2, 20)
    assert np.isnan(frames[0]).any()
    assert np.array_equal(frames[1], one.record(2, 20)[1])
    assert np.isnan(two.potential_energy()[0])


def test_pme_runs_on_openmm_alone() -> None:
    system = solvated()
    assert system.parameters.cutoff is not None
    assert system.parameters.cutoff.ewald
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(MdgenError, match=r"no Ewald sums.*engine=openmm"):
        make_engine(system.parameters, Langevin(2.0, 300.0), 1, generator, kind="torch")
    with pytest.raises(MdgenError, match=r"kernel does not have Ewald sums.*use engine=openmm"):
        make_engine(system.parameters, Langevin(2.0, 300.0), 1, generator, kind="kernel")
    with pytest.raises(MdgenError, match="constant volume; use engine=openmm"):
        make_engine(system.parameters, Langevin(2.0, 300.0), 1, generator, kind="torch", pressure_bar=1.0)
    engine = make_engine(
        system.parameters, Langevin(2.0, 300.0), 1, generator, threads=1, openmm_system=system.openmm_system
    )
    assert isinstance(engine, OpenMMEngine)


def test_pressure_changes_the_box_and_is_resumed() -> None:
    system = solvated()

    def engine(seed: int) -> OpenMMEngine:
        generator = torch.Generator().manual_seed(seed)
        return OpenMMEngine(system.openmm_system, Langevin(2.0, 300.0), 1, generator, threads=1, pressure_bar=5000.0)

    one, two = engine(1), engine(2)
    started(one, system)
    before = one.advance(200)
    two.load_state_dict(one.state_dict())
    resumed = two.advance(0)
    assert before.cell is not None
    assert resumed.cell is not None
    assert system.cell is not None
    assert not torch.equal(before.cell[0], system.cell)
    assert torch.equal(resumed.cell, before.cell)
    assert torch.equal(resumed.positions, before.positions)
    assert bool(two.advance(50).positions.isfinite().all())


def test_mistakes_are_named() -> None:
    system = alanine_dipeptide()
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(MdgenError, match="no box to hold it"):
        OpenMMEngine(system.openmm_system, Langevin(2.0, 300.0), 1, generator, threads=1, pressure_bar=1.0)
    with pytest.raises(MdgenError, match="does not fit an engine"):
        started(vacuum_engine(1, n=2), system, 3)
    engine = vacuum_engine(1, n=1)
    wrong = {**engine.state_dict(), "checkpoint_0": torch.zeros(64, dtype=torch.uint8)}
    with pytest.raises(MdgenError, match="cannot go on from its checkpoint"):
        engine.load_state_dict(wrong)
