"""`mdgen adapt` on a double well whose timescale is known: estimated from shorter runs, and resumed."""

import json
from pathlib import Path

import numpy as np
import pytest

from mdgen.apps.main import main
from mdgen.data.trajectories import open_trajectories
from mdgen.units import thermal_energy

BARRIER, FRICTION, MASS = 12.0, 91.0, 12.0
COMMAND = [
    "adapt",
    *("system@simulate.system=double_well", "integrator@simulate.integrator=overdamped"),
    *("encoder=tica_particles", "encoder.model.n_modes=1"),
    *(f"simulate.system.potential.barrier={BARRIER}", "simulate.integrator.timestep_fs=50", "simulate.n_replicas=32"),
    *("simulate.length_ns=0.02", "simulate.equilibration_ns=0.001", "simulate.save_ps=0.5"),
    *("lag_ps=2", "n_states=30", "tolerance=0.01", "threads=1"),
]
"""Runs of 20 ps; with so narrow a tolerance the budget is used up."""


def exact_timescale_ps() -> float:
    """The slowest relaxation time of the Smoluchowski equation along x, on a grid."""
    x = np.linspace(-0.42, 0.42, 400)
    energy = BARRIER * ((x / 0.2) ** 2 - 1) ** 2 / thermal_energy(300.0)
    hop = thermal_energy(300.0) / (FRICTION * MASS) / (x[1] - x[0]) ** 2
    rates = np.zeros((400, 400))
    for i, j in [(i, i + s) for i in range(400) for s in (-1, 1) if 0 <= i + s < 400]:
        rates[i, j] = hop * np.exp((energy[i] - energy[j]) / 2)
    rates -= np.diag(rates.sum(1))
    root = np.exp(-energy / 2)
    symmetric = root[:, None] * rates / root
    return float(-1 / np.linalg.eigvalsh((symmetric + symmetric.T) / 2)[-2])


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapt") / "run"
    assert main([*COMMAND, "n_rounds=12", f"output={folder}"]) == 0
    return folder


def test_the_timescale_and_the_equilibrium_are_found_from_runs_shorter_than_it(adapted: Path) -> None:
    metrics = json.loads((adapted / "metrics.json").read_text())
    last, exact = metrics["rounds"][-1], exact_timescale_ps()
    assert exact > 5 * 20  # no run is nearly as long
    assert last["total_ns"] == pytest.approx(12 * 32 * 0.02 + 32 * 0.001)
    (value,), (low,), (high,) = (last[key] for key in ("timescales_ps", "low_ps", "high_ps"))
    assert value == pytest.approx(exact, rel=0.3)
    assert low < value < high
    assert high / low < metrics["rounds"][3]["high_ps"][0] / metrics["rounds"][3]["low_ps"][0]
    weights = np.load(adapted / "weights.npy")
    data = open_trajectories([adapted / each for each in metrics["runs"]])
    x = np.concatenate([data.positions(index)[:, 0, 0] for index in range(len(data))])
    assert weights @ (x > 0) == pytest.approx(0.5, abs=0.1)  # all runs of the first round began on the left
    assert (adapted / "timescales.png").stat().st_size > 1000


def test_runs_start_at_frames_of_former_runs_spread_over_both_wells(adapted: Path) -> None:
    first, later = (open_trajectories(adapted / f"round-{n:03d}/simulate") for n in (0, 11))
    begin = np.array([later.positions(index)[0, 0, 0] for index in range(len(later))])
    assert (first.positions(0)[:2, 0, 0] < 0).all()
    assert 4 < (begin > 0).sum() < 28
    assert (np.abs(begin) < 0.1).any()  # the barrier is seen least


def test_an_interrupted_run_continues_to_the_same_result_and_a_longer_one_goes_on(
    adapted: Path, tmp_path: Path
) -> None:
    short = [*COMMAND, f"output={tmp_path / 'run'}"]
    assert main([*short, "n_rounds=2"]) == 0
    assert main([*short, "n_rounds=3"]) == 0
    rounds, whole = (json.loads((f / "metrics.json").read_text())["rounds"] for f in (tmp_path / "run", adapted))
    assert rounds == whole[:3]
    weights = np.load(tmp_path / "run/weights.npy")
    for number in (2, 1):  # the last, and one in the middle: the weights are those of all rounds
        (tmp_path / "run/DONE").unlink()
        (tmp_path / f"run/round-{number:03d}/round.json").unlink()
        assert main([*short, "n_rounds=3"]) == 0
        assert json.loads((tmp_path / "run/metrics.json").read_text())["rounds"] == rounds
        np.testing.assert_array_equal(np.load(tmp_path / "run/weights.npy"), weights)


def test_mistakes_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong, said in (
        ("choice=best", "choice=best"),
        ("n_rounds=0", "n_rounds=0"),
        ("lag_ps=20", "lag_ps=20 is not shorter"),
        ("simulate.save_atoms=all", "save_atoms does not go with adapt"),
        ("simulate.pressure_bar=1", "pressure_bar does not go with adapt"),
        ("seed=-1", "seed=-1: expected at least 0"),
    ):
        assert main([*COMMAND, wrong, f"output={tmp_path / 'run'}"]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
