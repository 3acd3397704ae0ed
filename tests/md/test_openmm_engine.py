"""OpenMM as an engine: the same protocol, PME, pressure, bitwise restarts, and NaN that stays in its replica."""

from functools import cache

import numpy as np
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import System
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import Engine, make_engine
from mdgen.md.engines.openmm_engine import OpenMMEngine
from mdgen.md.systems.build import build_system
from tests.md.reference import alanine_dipeptide


@cache
def solvated() -> System:
    return build_system(
        sequence="A",
        force_field="amber14",
        hydrogen_mass_amu=None,
        solvent="tip3pfb",
        long_range="pme",
        padding_nm=0.5,
        cutoff_nm=0.6,
    )


def started(engine: Engine, system: System, n: int = 1, seed: int = 0) -> None:
    engine.prepare(initial_state(system, n, torch.tensor([300.0]), torch.Generator().manual_seed(seed)))


def test_pme_runs_on_openmm_alone() -> None:
    system = solvated()
    assert system.potential.parameters.cutoff is not None
    assert system.potential.parameters.cutoff.ewald
    generator = torch.Generator().manual_seed(0)
    integrator = Langevin(2.0, 300.0)
    for kind in ("torch", "kernel"):
        with pytest.raises(MdgenError, match=rf"{kind} does not have Ewald sums.*use engine=openmm"):
            make_engine(system, integrator, 1, generator, kind=kind)
        with pytest.raises(MdgenError, match=r"constant volume; use engine=openmm"):
            make_engine(system, integrator, 1, generator, kind=kind, pressure_bar=1.0)
    with pytest.raises(MdgenError, match=r"Ewald sums .PME. are computed by OpenMM alone"):
        system.potential.energy(system.positions[None], system.cell[None])
    engine = make_engine(system, integrator, 1, generator, threads=1)
    assert isinstance(engine, OpenMMEngine)


def test_pressure_changes_the_box_and_is_resumed() -> None:
    system = solvated()

    def engine(seed: int) -> OpenMMEngine:
        generator = torch.Generator().manual_seed(seed)
        return OpenMMEngine(system, Langevin(2.0, 300.0), 1, generator, threads=1, pressure_bar=5000.0)

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
    frames, cells = two.record(3, 50)
    assert np.isfinite(frames).all()
    assert cells is not None
    assert len(np.unique(cells[0, :, 0, 0])) > 1
    np.testing.assert_array_equal(cells[:, -1], two.advance(0).cell.float().diag_embed().numpy())


def test_mistakes_are_named() -> None:
    system = alanine_dipeptide()
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(MdgenError, match="no box to hold it"):
        OpenMMEngine(system, Langevin(2.0, 300.0), 1, generator, threads=1, pressure_bar=1.0)
    with pytest.raises(MdgenError, match="does not fit an engine"):
        started(OpenMMEngine(system, Langevin(2.0, 300.0), 2, generator, threads=1), system, 3)
    engine = OpenMMEngine(system, Langevin(2.0, 300.0), 1, generator, threads=1)
    wrong = {**engine.state_dict(), "checkpoint_0": torch.zeros(64, dtype=torch.uint8)}
    with pytest.raises(MdgenError, match="cannot continue from its checkpoint"):
        engine.load_state_dict(wrong)
