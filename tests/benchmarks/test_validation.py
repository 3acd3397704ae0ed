"""The checks of the validation suite hold, and fail where an error is planted."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mdgen.benchmarks.validation import conservation, interruptions
from mdgen.benchmarks.validation.conservation import _slope, check_order
from mdgen.benchmarks.validation.ensemble import kinetic_deviations, two_temperature_deviation
from mdgen.benchmarks.validation.interruptions import check_full_disk, check_instability
from mdgen.benchmarks.validation.parity import check_files, check_parity, kernel_errors, parity_errors, slope_error
from mdgen.benchmarks.validation.replicas import check_constraints
from mdgen.benchmarks.validation.validation_suite import ValidationSettings
from mdgen.errors import MdgenError
from mdgen.interfaces import State
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.systems.build import build_system
from mdgen.results import Acceptance
from mdgen.units import BOLTZMANN

KERNELS = ("kernel", "molecule_kernel")


def assert_all_hold(rows: list[Acceptance]) -> None:
    assert rows
    assert not [row for row in rows if not row.holds]


def test_parity_holds_and_a_wrong_number_shows() -> None:
    figures, rows = check_parity(sequences=["A"], solvents=["hct", "gbn2"])
    assert_all_hold(rows)
    compared = [errors.keys() - {"energy", "forces"} for errors in figures["parity"].values()]
    assert compared == [{*KERNELS}, {*KERNELS}, {"box_kernel"}]
    names = {f"{kernel}_against_torch_forces_relative" for kernel in (*KERNELS, "box_kernel")}
    assert names < {row.name for row in rows}
    found = [errors[kernel] for errors in figures["parity"].values() for kernel in errors if "kernel" in kernel]
    assert all(0 < error < 1e-12 for error in found)
    system = build_system(sequence="A", force_field="amber14", solvent="gbn2", relax=False)
    p = system.potential.parameters
    changed = ForceField(replace(p, bond_k=p.bond_k * 1.02), system.potential.openmm_system)
    wrong = replace(system, potential=changed)
    errors, forces = parity_errors(wrong, system.positions[None])
    assert errors["bonds"] > 1e-3
    assert errors["angles"] < 1e-6
    assert forces > 1e-5


def test_slopes_show_a_force_that_is_not_the_gradient() -> None:
    system = build_system(sequence="A", force_field="amber14", solvent="vacuum", relax=False)
    assert slope_error(system) < 1e-6

    class Wrong(ForceField):
        def energy_and_forces(self, positions, cell=None):
            energy, forces = super().energy_and_forces(positions, cell)
            return energy, 1.001 * forces

    wrong = replace(system, potential=Wrong(system.potential.parameters))
    assert slope_error(wrong) == pytest.approx(1e-3, rel=0.05)
    assert kernel_errors(wrong, system.positions[None]) == pytest.approx(dict.fromkeys(KERNELS, 1e-3), rel=0.01)


def test_a_law_that_the_kernels_lack_is_no_agreement() -> None:
    system = build_system(sequence="A", force_field="amber14", solvent="vacuum", relax=False)
    steep = torch.full_like(system.potential.parameters.torsion_periodicity, 7)
    beyond = replace(system, potential=ForceField(replace(system.potential.parameters, torsion_periodicity=steep)))
    with pytest.raises(MdgenError, match="kernels do not have torsions of a periodicity outside 1 to 6"):
        kernel_errors(beyond, system.positions[None])


@pytest.mark.slow
def test_order_constraints_and_instability_hold() -> None:
    for check in (lambda: check_order(length_fs=40.0), lambda: check_constraints(500), check_instability):
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
    slope, error = _slope(noise + 0.5 * np.arange(10_000) * 1e-3, 1e-3)
    assert slope == pytest.approx(0.5, abs=4 * error)
    assert slope > 5 * error


def test_the_error_of_a_drift_is_that_of_a_random_walk() -> None:
    """Over many walks of spread 1 in a unit of time the slopes spread as the errors say, some 1.1."""
    walks = np.random.default_rng(1).normal(0, 200**-0.5, (300, 200)).cumsum(1)
    slopes, errors = np.array([_slope(walk, 1 / 200) for walk in walks]).T
    assert slopes.std() == pytest.approx(1.1, rel=0.1)
    assert np.square(errors).mean() ** 0.5 == pytest.approx(slopes.std(), rel=0.1)


def shadow_wandering(timestep_ps: float) -> float:
    """Relative wandering of the shadow energy of atoms in a well of fourth order, moved by leapfrog."""
    potential, masses = Quartic(), torch.tensor([1.0, 16.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    x, v = (torch.randn(1, 2, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    states = []
    for _ in range(400):
        v = v - timestep_ps * 4 * Quartic.k * x**3 / masses[:, None]
        x = x + timestep_ps * v
        states.append(State(x, v))
    # the velocities of a state are those of half a step before its positions
    found = [conservation.shadow_energy(potential, masses, states[i : i + 9], timestep_ps) for i in range(0, 390, 10)]
    return float(np.std(found) / np.mean(found))


class Quartic:
    fingerprint = "quartic"
    k = 5.0

    def energy(self, positions: torch.Tensor, cell: torch.Tensor | None = None) -> torch.Tensor:
        return self.k * positions.pow(4).sum((1, 2))


def test_the_shadow_energy_is_kept_to_the_eighth_order() -> None:
    coarse, fine = shadow_wandering(0.01), shadow_wandering(0.005)
    assert fine < 1e-9
    assert 2**7 < coarse / fine < 2**9


@pytest.mark.slow
def test_short_drifts_are_found_with_and_without_a_cutoff() -> None:
    metrics, rows = conservation.check_drift(length_ps=2.0, settle_ps=0.2)
    assert metrics["nve_energy_spread_without_switched_coulomb_K_per_dof"] < 0.1
    assert metrics["nve_energy_spread_without_cutoff_K_per_dof"] < 1e-4
    assert metrics["nve_energy_spread_K_per_dof"] < 1e-7
    plain = metrics["nve_drift_without_switched_coulomb_K_per_dof_per_ns"]
    assert plain["high"] - plain["low"] > 0.1
    for row in rows:
        assert row.low is not None
        assert row.low < row.value < row.high
    assert [row.name for row in rows] == ["nve_drift_K_per_dof_per_ns", "nve_drift_without_cutoff_K_per_dof_per_ns"]


def test_an_undisturbed_run_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruptions, "_FRAMES", 5)
    interruptions.run_simulation(tmp_path / "v")
    assert interruptions.TrajectoryStore.open(tmp_path / "v").n_frames == 5


@pytest.mark.slow
def test_kills_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    assert_all_hold(interruptions.check_kills(n_kills=3)[1])


@pytest.mark.slow
def test_full_disks_lose_nothing() -> None:
    assert_all_hold(check_full_disk()[1])


def test_files_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    assert check_files(None)[1] == []
    (tmp_path / "empty").mkdir()
    figures, rows = check_files(str(tmp_path))
    assert figures["files"] == {"empty": "neither prmtop nor psf"}
    assert not rows[0].holds  # nothing was compared


def test_the_suite_runs_what_it_is_asked(tmp_path: Path) -> None:
    metrics, rows = ValidationSettings(checks=["restart", "independence"]).run(tmp_path)
    assert list(metrics["seconds"]) == ["restart", "independence"]
    assert len(rows) == 12
    assert_all_hold(rows)
    with pytest.raises(MdgenError, match="check 'luck' is unknown; known are parity"):
        ValidationSettings(checks=["luck"]).run(tmp_path)
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("name", ["drift_ps", "ensemble_replicas", "ensemble_samples", "kills", "constraint_steps"])
def test_sizes_that_show_nothing_are_refused(name: str) -> None:
    with pytest.raises(MdgenError, match=f"{name} is 0, but must be"):
        ValidationSettings(**{name: 0})
    with pytest.raises(MdgenError, match="checks is empty"):
        ValidationSettings(checks=[])
