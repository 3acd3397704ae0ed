"""Velocity Verlet in every engine: the same positions, the energy kept, and what needs a thermostat refused."""

from dataclasses import replace

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.md.dynamics.integrators import VelocityVerlet
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import make_engine
from mdgen.md.force_field.forces import energy_and_forces
from tests.md.reference import alanine_dipeptide


def engine_and_start(kind: str, constraints: str, timestep_fs: float = 1.0):
    """An engine, and a start whose velocities are those that it takes: of half a step before for leapfrog."""
    system = alanine_dipeptide(constraints)
    engine = make_engine(system, VelocityVerlet(timestep_fs), 2, torch.Generator().manual_seed(0), kind, "double")
    state = initial_state(system, 2, engine.temperature_K, torch.Generator().manual_seed(1))
    if kind != "torch":
        _, forces = energy_and_forces(system.potential, state.positions)
        v = state.velocities - 0.5e-3 * timestep_fs * forces / system.masses[:, None]
        v = v if system.constraints is None else system.constraints.velocities(state.positions, v)
        state = replace(state, velocities=v)
    engine.prepare(state)
    return engine, system.masses


@pytest.mark.parametrize("constraints", ["none", "hbonds"])
@pytest.mark.parametrize("kind", ["kernel", "openmm"])
def test_every_engine_takes_the_same_path(kind: str, constraints: str) -> None:
    torch_engine, _ = engine_and_start("torch", constraints)
    other, _ = engine_and_start(kind, constraints)
    expected, found = (engine.advance(50).positions for engine in (torch_engine, other))
    expected, found = (x - x.mean(1, keepdim=True) for x in (expected, found))
    assert float((expected - expected.new_tensor(0)).abs().max()) > 0.1
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-6)


def test_the_kernel_keeps_the_energy() -> None:
    engine, masses = engine_and_start("kernel", "hbonds", 0.5)
    energies = []
    for _ in range(40):
        before = engine.advance(1)
        potential = torch.from_numpy(engine.potential_energy())
        after = engine.advance(1).velocities
        middle = 0.5 * (before.velocities + after)  # of the time of the positions between
        energies.append(potential + 0.5 * (masses[:, None] * middle.square()).sum((1, 2)))
        engine.advance(48)
    energy = torch.stack(energies)
    assert float((energy - energy.mean(0)).abs().max()) < 1.0  # kJ/mol, of a kinetic energy of some 60
    assert float((energy[-10:].mean(0) - energy[:10].mean(0)).abs().max()) < 0.1


def test_what_needs_a_thermostat_is_refused() -> None:
    system = alanine_dipeptide("none")
    with pytest.raises(MdgenError, match="barostat without a thermostat"):
        make_engine(system, VelocityVerlet(1.0), 1, torch.Generator(), "openmm", pressure_bar=1.0)
    with pytest.raises(MdgenError, match="no engine runs this"):
        make_engine(system, VelocityVerlet(1.0), 1, torch.Generator(), pressure_bar=1.0)
    with pytest.raises(MdgenError, match="no thermostat"):
        VelocityVerlet(1.0).at_temperature(torch.tensor([310.0]))
    with pytest.raises(MdgenError, match="temperature_K is -1"):
        replace(VelocityVerlet(1.0), temperature_K=-1.0)
