"""Order of accuracy, the canonical ensemble, and constraints that do not drift."""

from dataclasses import replace

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import Integrator, State, System
from mdgen.md.dynamics.integrators import Langevin, VelocityVerlet
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.force_field.force_field import ForceField
from mdgen.units import BOLTZMANN
from tests.md.reference import Springs, alanine_dipeptide, kinetic_temperature, particles


def start(replicas: int, constraints: str = "none", temperature_K: float = 300.0, seed: int = 0):
    system, generator = alanine_dipeptide(constraints), torch.Generator().manual_seed(seed)
    if system.constraints is not None:
        system = replace(system, constraints=replace(system.constraints, tolerance=1e-9))
    return initial_state(system, replicas, torch.tensor([temperature_K]), generator), system, generator


def run(integrator: Integrator, n_steps: int, state: State, system: System, generator: torch.Generator) -> State:
    for _ in range(n_steps):
        state = integrator.step(state, system, generator)
    return state


def largest_energy_error(timestep_fs: float, constraints: str) -> torch.Tensor:
    state, system, generator = start(4, constraints)
    integrator = VelocityVerlet(timestep_fs)

    def energy(s: State) -> torch.Tensor:
        kinetic = 0.5 * (system.masses[:, None] * s.velocities.square()).sum((1, 2))
        return system.potential.energy(s.positions) + kinetic

    first, errors = energy(state), []
    for _ in range(round(20 / timestep_fs)):
        state = integrator.step(state, system, generator)
        errors.append((energy(state) - first).square())
    return torch.stack(errors).mean().sqrt()


@pytest.mark.parametrize(("constraints", "timestep_fs"), [("none", 0.5), ("hbonds", 1.0)])
def test_energy_error_falls_with_the_square_of_the_time_step(constraints: str, timestep_fs: float) -> None:
    ratio = largest_energy_error(timestep_fs, constraints) / largest_energy_error(timestep_fs / 2, constraints)
    assert 3.5 < float(ratio) < 4.5


def test_verlet_runs_backwards() -> None:
    state, system, generator = start(2, "hbonds")
    integrator = VelocityVerlet(1.0)
    there = run(integrator, 50, state, system, generator)
    back = run(integrator, 50, replace(there, velocities=-there.velocities), system, generator)
    assert float((there.positions - state.positions).abs().max()) > 0.01
    assert float((back.positions - state.positions).abs().max()) < 1e-5


def test_langevin_samples_an_oscillator() -> None:
    """At a step of a fifth of the period LFMiddle still gives the exact variance of positions, kT / k."""
    k, mass, temperature, replicas = 1000.0, 10.0, 300.0, 4096
    timestep_ps = 0.2 * 2 * torch.pi * (mass / k) ** 0.5
    integrator = Langevin(timestep_ps * 1000, temperature, friction_per_ps=2.0)
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(replicas, 4, 3, dtype=torch.float64)
    system = particles(Springs(k), [mass] * 4)
    state, found = State(x, x), []
    for step in range(400):
        state = integrator.step(state, system, generator)
        if step >= 50 and step % 10 == 0:
            found.append(state.positions.square().mean(dim=(1, 2)))
    per_replica = torch.stack(found).mean(0)
    mean, error = per_replica.mean(), per_replica.std() / replicas**0.5
    assert abs(float(mean) - BOLTZMANN * temperature / k) < 3.5 * float(error)
    assert float(error / mean) < 0.005


@pytest.mark.parametrize("constraints", ["none", "hbonds"])
def test_langevin_keeps_each_replica_at_its_temperature(constraints: str) -> None:
    """Without solvent the chain still has 54 free degrees with constraints, 66 without."""
    replicas, low, high = 48, 250.0, 350.0
    temperatures = [low] * (replicas // 2) + [high] * (replicas // 2)
    state, system, generator = start(replicas, constraints)
    integrator = Langevin(1.0 if constraints == "hbonds" else 0.25, temperatures, 50.0)
    n_constraints, found = 0 if system.constraints is None else system.constraints.count, []
    for step in range(500):
        state = integrator.step(state, system, generator)
        if step >= 100:
            found.append(kinetic_temperature(state.velocities, system.masses, n_constraints))
    ratio = torch.stack(found).mean(0) / torch.tensor(temperatures, dtype=torch.float64)
    for half in ratio.split(replicas // 2):
        # Half-step velocities sample the Maxwell-Boltzmann law up to the time step's error, below half a per cent here.
        assert abs(float(half.mean()) - 1) < 3.5 * float(half.std()) / (replicas // 2) ** 0.5 + 0.005
    assert float(ratio.std()) < 0.1


@pytest.mark.parametrize("n_steps", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_constraints_do_not_drift(n_steps: int) -> None:
    state, system, generator = start(2, "hbonds")
    system = replace(system, constraints=replace(system.constraints, tolerance=1e-6))
    state = run(Langevin(2.0, 300.0, 1.0), n_steps, state, system, generator)
    assert float(system.constraints.largest_error(state.positions).max()) < 1e-5


def test_a_rollout_is_differentiable() -> None:
    state, system, generator = start(1)
    p = system.potential.parameters
    charges = p.charges.clone().requires_grad_()

    def end(q: torch.Tensor) -> torch.Tensor:
        attached = replace(state, positions=state.positions.clone().requires_grad_())
        charged = replace(system, potential=ForceField(replace(p, charges=q)))
        return run(VelocityVerlet(0.5), 5, attached, charged, generator).positions.square().sum()

    (gradient,) = torch.autograd.grad(end(charges), charges)
    push = torch.zeros_like(charges)
    push[4] = 1e-4
    slope = (end((charges + push).detach()) - end((charges - push).detach())) / 2e-4
    assert float(gradient[4]) == pytest.approx(float(slope.detach()), rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"timestep_fs": 0.0}, "timestep_fs is 0"),
        ({"temperature_K": -1.0}, "temperature_K is -1"),
        ({"temperature_K": [300.0, float("nan")]}, "temperature_K is nan"),
        ({"temperature_K": []}, "temperature_K is an empty list"),
        ({"temperature_K": [300.0, "a"]}, "must be a number or a list"),
        ({"friction_per_ps": -2.0}, "friction_per_ps is -2"),
    ],
)
def test_senseless_settings_are_named(settings: dict, complaint: str) -> None:
    with pytest.raises(MdgenError, match=complaint):
        Langevin(**({"timestep_fs": 2.0, "temperature_K": 300.0} | settings))


def test_a_wrong_number_of_temperatures_is_named() -> None:
    state, system, generator = start(3)
    with pytest.raises(MdgenError, match="2 temperatures for 3 replicas"):
        Langevin(1.0, [300.0, 310.0]).step(state, system, generator)
