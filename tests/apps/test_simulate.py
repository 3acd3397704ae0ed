"""Simulations on the command line: lengthened afterwards, and at one temperature a replica."""

from pathlib import Path

import numpy as np
import pytest

from mdgen.apps.main import main
from mdgen.data.store import TrajectoryStore
from mdgen.data.trajectories import write_trajectory
from mdgen.md.force_field.double_well import DoubleWell
from mdgen.md.systems.particles import build_particles

SMALL = ["system.sequence=A", "n_replicas=2", "equilibration_ns=0.001", "save_ps=1", "threads=1"]


def frames(folder: Path) -> np.ndarray:
    return np.array(TrajectoryStore.open(folder / "trajectories").positions(1))


def test_a_run_made_longer_is_the_run_made_long_at_once(tmp_path: Path) -> None:
    for output, length in (("steps", 0.003), ("steps", 0.006), ("once", 0.006)):
        assert main(["simulate", *SMALL, f"length_ns={length}", f"output={tmp_path / output}"]) == 0
    assert frames(tmp_path / "once").shape[0] == 6
    np.testing.assert_array_equal(frames(tmp_path / "steps"), frames(tmp_path / "once"))
    assert main(["simulate", *SMALL, "length_ns=0.003", f"output={tmp_path / 'steps'}"]) == 2
    assert len(frames(tmp_path / "steps")) == 6


def test_a_temperature_for_each_replica(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["simulate", *SMALL, "length_ns=0.003", f"output={tmp_path / 'run'}"]
    assert main([*run, "integrator.temperature_K=[300,300,300]"]) == 2
    assert "temperature" in capsys.readouterr().err
    assert main([*run, "integrator.temperature_K=[300,a]"]) == 2
    assert main([*run, "integrator.temperature_K=[300,400]"]) == 0
    assert TrajectoryStore.open(tmp_path / "run/trajectories").temperatures_K == (300.0, 400.0)


def test_a_run_without_a_thermostat_has_no_temperature(tmp_path: Path) -> None:
    run = [
        "simulate",
        *SMALL,
        "engine=torch",
        "integrator=verlet",
        "length_ns=0.0001",
        "save_ps=0.1",
        "equilibration_ns=0",
    ]
    assert main([*run, f"output={tmp_path / 'run'}"]) == 0
    store = TrajectoryStore.open(tmp_path / "run/trajectories")
    assert store.temperatures_K == (None, None)
    assert store.metadata["initial_temperature_K"] == [300.0]
    assert main([*run, f"output={tmp_path / 'run'}", "length_ns=0.0002"]) == 0
    assert main([*run, f"output={tmp_path / 'run'}", "length_ns=0.0003", "integrator.temperature_K=310"]) == 2


def test_replicas_begin_at_the_structures_of_a_file_in_turn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    well = ["system=double_well", "integrator=overdamped", "threads=1", "equilibration_ns=0", "save_ps=0.0001"]
    molecule = build_particles(DoubleWell(), [[0.0, 0.0, 0.0]]).molecule
    places = np.array([[[-0.2, 0, 0]], [[0.2, 0.01, 0]]], dtype=np.float32)
    write_trajectory(tmp_path / "starts.h5", places, molecule, 1.0)
    run = ["simulate", *well, "n_replicas=3", "length_ns=0.0000001", f"output={tmp_path / 'run'}"]
    assert main([*run, f"start={tmp_path / 'starts.h5'}"]) == 0
    store = TrajectoryStore.open(tmp_path / "run/trajectories")
    first = np.array([store.positions(replica)[0, 0] for replica in range(3)])
    np.testing.assert_allclose(first, places[[0, 1, 0], 0], atol=0.005)
    for edges, status in (([1.5, 1.5, 1.6], 2), ([1.5, 1.5, 1.5], 0)):  # of the frames; the system's are all 1.5 nm
        box = np.broadcast_to(np.diag(edges), (2, 3, 3))
        write_trajectory(tmp_path / "boxed.h5", places, molecule, 1.0, box)
        boxed = [*run[:-1], "system.box_nm=[1.5,1.5,1.5]", f"output={tmp_path / 'boxed'}"]
        assert main([*boxed, f"start={tmp_path / 'boxed.h5'}"]) == status
        assert ("of another periodic box" in capsys.readouterr().err) == (status == 2)
    other = ["simulate", *SMALL, "length_ns=0.001", f"output={tmp_path / 'other'}", f"start={tmp_path / 'starts.h5'}"]
    assert main(other) == 2
    assert "starts.h5 has 1 atoms where 22 were expected" in capsys.readouterr().err
