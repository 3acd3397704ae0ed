"""Overdamped Langevin: the stationary law of a spring to every digit that the time step allows, and free diffusion."""

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import Integrator, State
from mdgen.md.dynamics.overdamped import OverdampedLangevin
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import make_engine
from mdgen.units import BOLTZMANN
from tests.md.reference import Springs, alanine_dipeptide, particles


def test_it_is_an_integrator() -> None:
    assert isinstance(OverdampedLangevin(1.0, 300.0), Integrator)


def test_a_spring_has_the_variance_of_the_discrete_chain() -> None:
    """With `a = k dt / (gamma m)` the chain is `x <- (1 - a) x + noise`: its variance is `kT / k / (1 - a / 2)`."""
    k, mass, friction, timestep_fs = 500.0, 10.0, 50.0, 400.0
    a = k * timestep_fs / 1000 / (friction * mass)
    temperatures = [300.0] * 1000 + [600.0] * 1000
    integrator = OverdampedLangevin(timestep_fs, temperatures, friction)
    generator, system = torch.Generator().manual_seed(0), particles(Springs(k), [mass] * 4)
    state = State(torch.zeros(2000, 4, 3, dtype=torch.float64), torch.zeros(2000, 4, 3, dtype=torch.float64))
    for _ in range(30):  # the start is forgotten as 0.6^60
        state = integrator.step(state, system, generator)
    for part, temperature in ((slice(0, 1000), 300.0), (slice(1000, 2000), 600.0)):
        x = state.positions[part]
        expected = BOLTZMANN * temperature / k / (1 - a / 2)
        assert float(x.square().mean()) == pytest.approx(expected, rel=4 * (2 / x.numel()) ** 0.5)
    assert a == pytest.approx(0.4)


def test_free_atoms_diffuse() -> None:
    integrator = OverdampedLangevin(2.0, 300.0, 91.0)
    system = particles(Springs(0.0), [1.0, 16.0])
    zeros = torch.zeros(3000, 2, 3, dtype=torch.float64)
    state, generator = State(zeros, zeros), torch.Generator().manual_seed(1)
    for _ in range(10):
        state = integrator.step(state, system, generator)
    expected = 2 * BOLTZMANN * 300.0 / (91.0 * system.masses) * 10 * 0.002
    torch.testing.assert_close(state.positions.square().mean((0, 2)), expected, rtol=4 * (2 / 9000) ** 0.5, atol=0)


def test_constraints_hold_and_the_engine_takes_it() -> None:
    system = alanine_dipeptide()
    integrator = OverdampedLangevin(1.0, 300.0)
    engine = make_engine(system, integrator, 2, torch.Generator().manual_seed(0), precision="double")
    engine.prepare(initial_state(system, 2, engine.temperature_K, torch.Generator().manual_seed(1)))
    state = engine.advance(50)
    assert float(system.constraints.largest_error(state.positions).max()) < 1e-5
    assert engine.settings["integrator"] == "OverdampedLangevin"
    assert not torch.equal(state.positions[0], state.positions[1])


def test_mistakes_are_named() -> None:
    with pytest.raises(MdgenError, match="friction_per_ps is 0"):
        OverdampedLangevin(1.0, 300.0, 0.0)
    with pytest.raises(MdgenError, match=r"kernel does not have the integrator OverdampedLangevin.*engine=torch"):
        make_engine(alanine_dipeptide(), OverdampedLangevin(1.0, 300.0), 1, torch.Generator(), kind="kernel")
