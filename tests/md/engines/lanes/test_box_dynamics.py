"""Dynamics of boxes: the path and the ensemble of the integrator, rigid water, and lists that change nothing."""

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from mdgen.md.dynamics.constraints import DistanceConstraints
from mdgen.md.engines.lanes.box.box_kernel import BoxKernel
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.systems.openmm_systems.openmm_loader import load_openmm_system
from mdgen.units import BOLTZMANN
from tests.md.engines.lanes.boxes import kernel_at, water


def kinetic_energy(velocities: np.ndarray) -> np.ndarray:
    """Of each replica, in kJ/mol."""
    return 0.5 * np.einsum("a,rax->r", water()[1].masses.numpy(), velocities**2)


def kinetic_temperature(kernel: BoxKernel) -> np.ndarray:
    parameters = water()[1]
    freedom = 3 * parameters.n_atoms - len(parameters.constraint_atoms)
    return 2 * kinetic_energy(kernel.velocities()) / (freedom * BOLTZMANN)


def switched(force: openmm.NonbondedForce, switch_nm: float = 0.9) -> None:
    """Switch Lennard-Jones off: kernels without a switch would be compiled for one test alone."""
    force.setUseSwitchingFunction(True)
    force.setSwitchingDistance(switch_nm)


@pytest.mark.parametrize("rigid", [True, False])
@pytest.mark.parametrize("friction_per_ps", [0.0, 20.0])
def test_without_noise_the_path_is_that_of_openmm(rigid: bool, friction_per_ps: float) -> None:
    kernel = kernel_at(1, 0.0, friction_per_ps, 0.001, "double", rigid=rigid)
    integrator = openmm.LangevinMiddleIntegrator(0.0, friction_per_ps, 0.001)
    integrator.setConstraintTolerance(1e-11)
    context = openmm.Context(water(rigid)[0], integrator, openmm.Platform.getPlatformByName("Reference"))
    start = kernel.positions()
    context.setPositions(start[0])
    context.setVelocities(kernel.velocities()[0])
    integrator.step(50)
    expected = context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    kernel.advance(50)
    assert np.abs(kernel.positions() - start).max() > 0.01
    np.testing.assert_allclose(kernel.positions()[0], expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("rigid", "timestep_ps"), [(False, 0.0005), (True, 0.001)])
def test_energy_error_falls_with_the_square_of_the_time_step(rigid: bool, timestep_ps: float) -> None:
    def fluctuation(timestep_ps: float) -> float:
        kernel = kernel_at(4, 0.0, 0.0, timestep_ps, "double", rigid=rigid)
        energies, before = [], kernel.velocities()
        for _ in range(round(0.1 / timestep_ps)):
            potential = kernel.potential_energy()
            kernel.advance(1)
            after = kernel.velocities()
            # Velocities live half a step away from positions; their mean is that of the positions' time.
            energies.append(potential + kinetic_energy((before + after) / 2))
            before = after
        return float(np.mean(np.std(energies[1:], axis=0)))

    assert fluctuation(timestep_ps) / fluctuation(timestep_ps / 2) == pytest.approx(4, abs=0.5)


@pytest.mark.parametrize("precision", ["single", "double"])
def test_without_friction_the_energy_does_not_drift(precision: str) -> None:
    """Rigid water for 4 ps at 1 fs; the leapfrog's own error is far larger than a slope that matters."""
    kernel = kernel_at(4, 0.0, 0.0, 0.001, precision)
    kernel.advance(200)
    energies = []
    for _ in range(400):
        kernel.advance(9)
        potential, before = kernel.potential_energy(), kernel.velocities()
        kernel.advance(1)
        energies.append(potential + kinetic_energy((before + kernel.velocities()) / 2))
    energies, time = np.array(energies), 0.01 * np.arange(400)
    slope = np.polyfit(time, energies, 1)[0]
    assert energies.std(0).max() < 1.0
    assert abs(slope.mean()) < 0.05  # kJ/mol/ps; the kinetic energy is about 700 kJ/mol


def test_rigid_water_stays_rigid() -> None:
    kernel = kernel_at(2, 300.0, 1.0, 0.002)
    p = water()[1]
    held = DistanceConstraints(p.masses, p.constraint_atoms, p.constraint_length)
    kernel.advance(1000)
    assert float(held.largest_error(torch.from_numpy(kernel.positions())).max()) < 1e-9
    speeds = torch.from_numpy(kernel.velocities())
    i, j = p.constraint_atoms.T
    x = torch.from_numpy(kernel.positions())
    # Velocities meet the constraints of the middle of the step; at its end they turn by a step's angle.
    along = ((x[:, i] - x[:, j]) * (speeds[:, i] - speeds[:, j])).sum(-1).abs()
    assert float(along.max()) < 1.0


def test_rigid_bonds_of_a_solute_stay_rigid() -> None:
    """Stars of two to five atoms and a triangle of unlike ones, without a box."""
    system = openmm.System()
    force = openmm.NonbondedForce()
    positions = []
    for molecule, n_hydrogens in enumerate((4, 3, 2, 1)):
        first = system.getNumParticles()
        for atom in range(1 + n_hydrogens):
            system.addParticle(12.0 if atom == 0 else 1.008)
            force.addParticle(0.0, 0.3, 0.3)
            turn = np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])[atom] / 3**0.5
            positions.append(np.array([0.6 * molecule, 0, 0]) + 0.109 * turn)
            if atom:
                system.addConstraint(first, first + atom, 0.109)
        force.createExceptionsFromBonds([(first, first + k) for k in range(1, 1 + n_hydrogens)], 0.5, 0.5)
    for index, (mass, at) in enumerate(((16.0, (0, 0, 0)), (1.0, (0.1, 0, 0)), (4.0, (0, 0.12, 0)))):
        system.addParticle(mass)
        force.addParticle(0.0, 0.3, 0.3)
        positions.append(np.array([0.0, 0.7, 0.0]) + at)
        for other in range(index):
            atoms = system.getNumParticles() - 1, system.getNumParticles() - 1 - index + other
            system.addConstraint(*atoms, float(np.linalg.norm(positions[atoms[0]] - positions[atoms[1]])))
            force.addException(*atoms, 0.0, 0.3, 0.0)
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    force.setCutoffDistance(1.0)
    switched(force)
    system.addForce(force)
    p = load_openmm_system(system)
    kernel = BoxKernel(p, 2, 0.002, 300.0, 5.0, torch.Generator(), "single", 1)
    x = torch.tensor(np.array(positions))[None].expand(2, -1, -1)
    kernel.set_state(x, torch.zeros_like(x), None)
    kernel.advance(1000)
    held = DistanceConstraints(p.masses, p.constraint_atoms, p.constraint_length)
    assert float(held.largest_error(torch.from_numpy(kernel.positions())).max()) < 1e-9
    assert np.abs(kernel.positions() - x.numpy()).max() > 0.05


def test_kinetic_energy_is_that_of_the_temperature() -> None:
    kernel = kernel_at(8, 300.0, 10.0)
    kernel.advance(500)
    samples = []
    for _ in range(60):
        kernel.advance(100)
        samples.append(kinetic_temperature(kernel))
    samples = np.array(samples)
    error = samples.std() / np.sqrt(samples.size)  # at this friction samples 0.2 ps apart are independent
    assert abs(samples.mean() - 300.0) < 3 * error
    parameters = water()[1]
    freedom = 3 * parameters.n_atoms - len(parameters.constraint_atoms)
    assert samples.std() / 300.0 == pytest.approx(np.sqrt(2 / freedom), rel=0.12)


def test_each_replica_has_its_own_temperature() -> None:
    kernel = kernel_at(4, torch.tensor([200.0, 200.0, 400.0, 400.0], dtype=torch.float64), 20.0)
    kernel.advance(500)
    samples = []
    for _ in range(20):
        kernel.advance(50)
        samples.append(kinetic_temperature(kernel))
    mean = np.mean(samples, 0)
    assert mean[:2].mean() == pytest.approx(200, abs=8)
    assert mean[2:].mean() == pytest.approx(400, abs=16)


def test_lists_are_found_anew_before_a_pair_can_be_missed() -> None:
    """After many rebuilds the forces from the kept list are those of every pair."""
    kernel, (_, parameters, cell, _) = kernel_at(1, precision="double"), water()
    lists = set()
    for _ in range(20):
        kernel.advance(7)
        lists.add(kernel.state_dict()["listed"][0, 0, 0].item())
        _, forces = kernel.energies_and_forces()
        x = torch.from_numpy(kernel.positions())
        expected = ForceField(parameters).energy_and_forces(x, cell)[1].numpy()
        assert np.linalg.norm(forces - expected) < 1e-11 * np.linalg.norm(expected)
    assert 2 < len(lists) < 20


def test_a_list_that_is_full_grows_on_the_way() -> None:
    """A gas falls in on itself: far more pairs than at the start, and none is lost."""
    system, force = openmm.System(), openmm.NonbondedForce()
    for _ in range(125):
        system.addParticle(40.0)
        force.addParticle(0.0, 0.2, 0.1)
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    force.setCutoffDistance(1.0)
    switched(force)
    system.addForce(force)
    parameters = load_openmm_system(system)
    corners = torch.stack(torch.meshgrid(*[torch.arange(5.0)] * 3, indexing="ij"), -1).reshape(1, 125, 3).double()
    x = 1.6 * (corners - 2) + 0.01 * torch.randn(1, 125, 3, generator=torch.Generator().manual_seed(0)).double()
    kernel = BoxKernel(parameters, 1, 0.002, 0.0, 0.0, torch.Generator(), "double", 1)
    kernel.set_state(x, -0.8 * x, None)
    kernel.advance(1)
    room = len(kernel._neighbours[0].slots)
    kernel.advance(450)
    assert np.abs(kernel.positions()).max() < 1.2
    assert len(kernel._neighbours[0].slots) > 1.5 * room
    now = torch.from_numpy(kernel.positions())
    expected = ForceField(parameters).energy_and_forces(now)[1].numpy()
    np.testing.assert_allclose(kernel.energies_and_forces()[1], expected, rtol=0, atol=1e-10 * np.abs(expected).max())
