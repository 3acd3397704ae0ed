"""The checks of trust hold where they should, and fail where something is wrong."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import State
from mdgen.md.force_field import ForceField
from mdgen.md.integrators import VelocityVerlet
from mdgen.md.minimize import minimize
from mdgen.md.systems import build_system
from mdgen.md.trust import conservation, parity, stops
from mdgen.md.trust.conservation import _slope, check_order
from mdgen.md.trust.ensemble import kinetic_deviations, two_temperature_deviation
from mdgen.md.trust.parity import check_parity, parity_errors, slope_error
from mdgen.md.trust.replicas import check_constraints, check_independence, check_restart
from mdgen.md.trust.stops import check_blow_up
from mdgen.md.trust.suite import TrustSettings, run_trust
from mdgen.md.velocities import maxwell_boltzmann
from mdgen.results import Acceptance
from mdgen.units import BOLTZMANN


def assert_all_hold(rows: list[Acceptance]) -> None:
    assert rows
    assert not [row for row in rows if not row.holds]


def test_parity_holds_and_a_wrong_number_shows() -> None:
    _, rows = check_parity(sequences=["A"], solvents=["gbn2"])
    assert_all_hold(rows)
    system = build_system(sequence="A", solvent="gbn2", relax=False)
    wrong = replace(system, parameters=replace(system.parameters, bond_k=system.parameters.bond_k * 1.02))
    errors, forces = parity_errors(wrong, system.positions[None])
    assert errors["bonds"] > 1e-3
    assert errors["angles"] < 1e-6
    assert forces > 1e-5


def test_slopes_show_a_force_that_is_not_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    system = build_system(sequence="A", solvent="vacuum", relax=False)
    assert slope_error(system) < 1e-6

    class Wrong(parity.ForceField):
        def energy_and_forces(self, positions, cell=None):
            energy, forces = super().energy_and_forces(positions, cell)
            return energy, 1.001 * forces

    monkeypatch.setattr(parity, "ForceField", Wrong)
    assert slope_error(system) == pytest.approx(1e-3, rel=0.05)


def test_order_constraints_independence_restart_and_blow_up_hold() -> None:
    for check in (
        lambda: check_order(length_fs=40.0),
        lambda: check_constraints(500),
        lambda: check_independence(40),
        check_restart,
        check_blow_up,
    ):
        assert_all_hold(check()[1])


def gamma_energies(temperature_K: float, freedom: int = 54, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(freedom / 2, BOLTZMANN * temperature_K, (64, 64))


def test_kinetic_energies_of_another_temperature_show() -> None:
    assert max(map(abs, kinetic_deviations(gamma_energies(300.0), 300.0, 54).values())) < 3
    assert abs(kinetic_deviations(gamma_energies(306.0), 300.0, 54)["kinetic_energy_mean"]) > 5  # 2 % too warm
    narrow = 0.5 * (gamma_energies(300.0) + gamma_energies(300.0, seed=1))  # the right mean, half the variance
    assert abs(kinetic_deviations(narrow, 300.0, 54)["kinetic_energy_variance"]) > 10


def test_two_temperatures_show_a_wrong_weight() -> None:
    """Gamma-distributed energies are those of any number of springs, whose weights are exactly Boltzmann's."""
    cold, warm = gamma_energies(300.0), gamma_energies(330.0, seed=1)
    assert abs(two_temperature_deviation(cold, warm, (300.0, 330.0))) < 3
    assert abs(two_temperature_deviation(cold, gamma_energies(360.0, seed=1), (300.0, 330.0))) > 5


def test_a_drift_is_found_in_noise() -> None:
    noise = np.random.default_rng(0).normal(0, 1.0, 10_000)
    slope, error = _slope(noise, 1e-3)
    assert abs(slope) < 4 * error
    slope, error = _slope(noise + 0.1 * np.arange(10_000) * 1e-3, 1e-3)
    assert slope == pytest.approx(0.1, abs=4 * error)
    assert slope > 5 * error


def test_the_shadow_energy_wanders_far_less_than_the_energy() -> None:
    parameters, cell, x = conservation._water()
    field, masses = ForceField(parameters), parameters.masses
    generator = torch.Generator().manual_seed(0)
    x = minimize(field, x, force_tolerance=2000.0, max_iterations=15, cell=cell).positions
    state = State(x, maxwell_boltzmann(x, masses, 300.0, generator), cell=cell)
    true, shadow = [], []
    for _ in range(30):
        state = VelocityVerlet(1.0).step(state, masses, field, generator)
        true.append(float(conservation._total_energy(field, masses, state)))
        shadow.append(float(conservation._shadow_energy(field, masses, state, 1e-3)))
    assert np.std(shadow) < 0.25 * np.std(true)


def test_a_run_in_peace_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stops, "_FRAMES", 5)
    stops.run_victim(tmp_path / "v")
    assert stops.TrajectoryStore.open(tmp_path / "v").n_frames == 5


@pytest.mark.slow
def test_kills_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    assert_all_hold(stops.check_kills(n_kills=3)[1])


def test_the_suite_runs_what_it_is_asked() -> None:
    metrics, rows = run_trust(TrustSettings(checks=["restart", "independence"]))
    assert list(metrics["seconds"]) == ["restart", "independence"]
    assert len(rows) == 9
    with pytest.raises(MdgenError, match="check 'luck' is unknown; known are parity"):
        run_trust(TrustSettings(checks=["luck"]))
    assert torch.get_default_dtype() == torch.float32
