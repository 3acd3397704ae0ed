"""Trajectories of the kernel: the same as OpenMM's, the right ensemble, bitwise reproducible, replicas apart."""

import numpy as np
import openmm
import pytest
import torch

from mdgen.md.engines.lanes.integration import RECENTRE_EVERY
from mdgen.md.engines.lanes.molecule.molecule_kernel import MoleculeKernel
from mdgen.md.engines.lanes.replicas.replica_kernel import ReplicaKernel
from tests.md.engines.lanes.systems import (
    both_kernels,
    degrees_of_freedom,
    kernel_at,
    kinetic_energy,
    kinetic_temperature,
    openmm_path,
    peptide,
)


@both_kernels
@pytest.mark.parametrize(("solvent", "constraints"), [("obc2", "hbonds"), ("vacuum", "none")])
@pytest.mark.parametrize("friction_per_ps", [0.0, 20.0])
def test_without_noise_the_path_is_that_of_openmm(kind, solvent: str, constraints: str, friction_per_ps: float) -> None:
    system = peptide("A", solvent, constraints)
    kernel = kernel_at(system, 2, 0.0, friction_per_ps, 0.001, "double", kind=kind)
    expected = openmm_path(system, kernel, friction_per_ps, 0.0, 50)
    start = kernel.positions()
    kernel.advance(50)
    assert np.abs(kernel.positions() - start).max() > 0.01
    np.testing.assert_allclose(kernel.positions(), expected, rtol=0, atol=1e-7)


def test_energy_error_falls_with_the_square_of_the_time_step() -> None:
    system = peptide("A", "vacuum", "none")

    def fluctuation(timestep_ps: float) -> float:
        kernel = kernel_at(system, 16, 0.0, 0.0, timestep_ps, "double")
        energies, before = [], kernel.velocities()
        for _ in range(round(0.05 / timestep_ps)):
            potential = kernel.potential_energy()
            kernel.advance(1)
            after = kernel.velocities()
            # Velocities live half a step away from positions; their mean is that of the positions' time.
            energies.append(potential + kinetic_energy(system, (before + after) / 2))
            before = after
        return float(np.mean(np.std(energies[1:], axis=0)))

    assert fluctuation(0.0005) / fluctuation(0.00025) == pytest.approx(4, abs=0.5)


@pytest.mark.parametrize(
    ("kind", "hydrogen_mass_amu", "timestep_ps"),
    [(ReplicaKernel, None, 0.002), (ReplicaKernel, 3.0, 0.004), (MoleculeKernel, 3.0, 0.004)],
)
def test_kinetic_energy_is_that_of_the_temperature(kind, hydrogen_mass_amu, timestep_ps) -> None:
    system = peptide("A", "obc2", hydrogen_mass_amu=hydrogen_mass_amu)
    kernel = kernel_at(system, 64, 300.0, 10.0, timestep_ps, kind=kind)
    kernel.advance(500)
    samples = []
    for _ in range(60):
        kernel.advance(75)
        samples.append(kinetic_temperature(system, kernel.velocities()))
    samples = np.array(samples)
    error = samples.mean(0).std(ddof=1) / np.sqrt(samples.shape[1])
    assert abs(samples.mean() - 300.0) < 3 * error + 0.3
    # A chi-squared distribution, not only its mean.
    assert samples.std() / 300.0 == pytest.approx(np.sqrt(2 / degrees_of_freedom(system)), rel=0.05)


def test_each_replica_has_its_own_temperature() -> None:
    system = peptide("A", "obc2")
    temperatures = torch.tensor([150.0] * 20 + [450.0] * 20, dtype=torch.float64)
    kernel = kernel_at(system, 40, temperatures, 20.0)
    kernel.advance(300)
    samples = []
    for _ in range(40):
        kernel.advance(50)
        samples.append(kinetic_temperature(system, kernel.velocities()))
    cold, hot = np.mean(samples, 0)[:20].mean(), np.mean(samples, 0)[20:].mean()
    assert cold == pytest.approx(150, abs=6)
    assert hot == pytest.approx(450, abs=18)


@both_kernels
@pytest.mark.parametrize("precision", ["single", "double"])
def test_stopping_and_restarting_changes_nothing(kind, precision: str) -> None:
    system = peptide("A", "obc2")
    whole = kernel_at(system, 5, precision=precision, kind=kind)
    first = kernel_at(system, 5, precision=precision, kind=kind)
    whole.advance(100)
    first.advance(50)
    second = kernel_at(system, 5, precision=precision, seed=99, kind=kind)
    second.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
    second.advance(50)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


@both_kernels
def test_a_restart_across_the_recentring_changes_nothing(kind) -> None:
    system = peptide("A", "obc2")
    whole, parts = kernel_at(system, 2, kind=kind), kernel_at(system, 2, kind=kind)
    whole.advance(RECENTRE_EVERY + 10)
    for steps in (RECENTRE_EVERY - 1, 1, 10):
        parts.advance(steps)
    np.testing.assert_array_equal(whole.positions(), parts.positions())


@both_kernels
def test_the_centre_goes_back_to_the_origin(kind) -> None:
    kernel = kernel_at(peptide("A", "obc2"), 3, kind=kind)
    kernel.advance(RECENTRE_EVERY - 1)
    assert np.abs(kernel.positions().mean(1)).max() > 1e-3
    kernel.advance(1)
    assert np.abs(kernel.positions().mean(1)).max() < 1e-6


@both_kernels
def test_recorded_frames_are_the_positions_on_the_way(kind) -> None:
    system = peptide("A", "obc2")
    recording, stepping = kernel_at(system, 18, kind=kind), kernel_at(system, 18, kind=kind)
    frames = recording.record(4, 25)
    assert frames.shape == (18, 4, system.potential.parameters.n_atoms, 3)
    assert frames.dtype == np.float32
    for frame in range(4):
        stepping.advance(25)
        np.testing.assert_array_equal(frames[:, frame], stepping.positions().astype(np.float32))


@both_kernels
def test_threads_change_nothing(kind) -> None:
    system = peptide("A", "obc2")
    one, three = kernel_at(system, 50, threads=1, kind=kind), kernel_at(system, 50, threads=3, kind=kind)
    np.testing.assert_array_equal(one.record(2, 20), three.record(2, 20))


@both_kernels
def test_a_replica_does_not_depend_on_how_many_there_are(kind) -> None:
    system = peptide("A", "obc2")
    few, many = kernel_at(system, 3, kind=kind), kernel_at(system, 37, kind=kind)
    few.advance(60)
    many.advance(60)
    np.testing.assert_array_equal(few.positions(), many.positions()[:3])


@pytest.mark.parametrize("shift_nm", [1e-4, 1e4])
def test_replicas_do_not_talk_to_each_other(shift_nm: float) -> None:
    """The second shift blows its replica up."""
    system = peptide("A", "obc2")
    calm, disturbed = kernel_at(system, 16), kernel_at(system, 16)
    state = disturbed.state_dict()
    state["positions"][4, 7] += shift_nm
    disturbed.load_state_dict(state)
    calm.advance(200)
    disturbed.advance(200)
    others = np.arange(16) != 4
    np.testing.assert_array_equal(calm.positions()[others], disturbed.positions()[others])
    assert not np.array_equal(calm.positions()[4], disturbed.positions()[4])


@both_kernels
def test_a_replica_with_two_atoms_in_one_place_becomes_nan_alone(kind) -> None:
    kernel = kernel_at(peptide("A", "obc2"), 16, kind=kind)
    state = kernel.state_dict()
    state["positions"][9, 3] = state["positions"][9, 15]
    kernel.load_state_dict(state)
    kernel.advance(20)
    assert np.isnan(kernel.positions()).any(axis=(1, 2)).tolist() == [replica == 9 for replica in range(16)]


def test_average_potential_energy_agrees_with_openmm() -> None:
    """Twelve runs of OpenMM against sixty-four of the kernel, 15 ps after 5 ps; in vacuum, where OpenMM is quick."""
    system = peptide("A", "vacuum")
    kernel = kernel_at(system, 64, friction_per_ps=5.0)
    kernel.advance(2500)
    ours = []
    for _ in range(100):
        kernel.advance(75)
        ours.append(kernel.potential_energy())
    integrator = openmm.LangevinMiddleIntegrator(300.0, 5.0, 0.002)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system.potential.openmm_system, integrator, openmm.Platform.getPlatformByName("Reference"))
    theirs = []
    for run in range(12):
        context.setPositions(system.positions.numpy())
        context.setVelocitiesToTemperature(300.0, run + 1)
        integrator.step(2500)
        energies = []
        for _ in range(100):
            integrator.step(75)
            energies.append(context.getState(getEnergy=True).getPotentialEnergy()._value)
        theirs.append(np.mean(energies))
    ours = np.mean(ours, 0)
    error = np.hypot(ours.std(ddof=1) / np.sqrt(len(ours)), np.std(theirs, ddof=1) / np.sqrt(len(theirs)))
    assert abs(ours.mean() - np.mean(theirs)) < 3 * error
    assert error < 0.8  # a temperature off by 2 % would show as 1.3 kJ/mol
