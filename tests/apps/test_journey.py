"""A user's journey on the command line, on a tiny system, from force field to report; and how it goes wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch

import mdgen
from mdgen.apps.main import main
from mdgen.data.store import TrajectoryStore
from tests.apps.small_demo import SMALL_DEMO

pytestmark = pytest.mark.usefixtures("one_filter_round", "steps_in_this_process", "few_plots")

SMALL = [
    *SMALL_DEMO,
    "train_encoder.encoder.training.n_steps=10",
    "train_propagator.propagator.training.n_steps=10",
    "train_decoder.decoder.training.n_steps=20",
    "four_wells.suite.n_steps=100000",
    "four_wells.suite.propagator_steps=50",
    "four_wells.suite.encoder_steps=50",
    "four_wells.suite.n_repeats=3",
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "demo"
    assert main(["demo", f"output={folder}", *SMALL]) == 0
    return folder


def test_the_demo_ends_in_a_report_and_an_acceptance(demo: Path) -> None:
    metrics = json.loads((demo / "metrics.json").read_text())
    assert list(metrics)[-1] == "acceptance"
    assert {row["name"] for row in metrics["acceptance"]} >= {"four_well_srv", "four_well_mdn"}
    assert {row["metric"] for row in metrics["criteria"]} >= {
        "free_energy_rmse_kT/psi_1",
        "share_difference/broken_bonds",
    }
    assert all(set(row) == {"name", "value", "low", "high", "bound", "holds"} for row in metrics["acceptance"])
    assert "<svg" in (demo / "report.html").read_text()
    assert json.loads((demo / "four_wells.json").read_text())["acceptance"]
    for step in ("simulate", "encoder", "propagator", "decoder", "generate"):
        for file in ("DONE", "config.yaml", "provenance.json", "metrics.json", "run.log"):
            assert (demo / step / file).is_file(), f"{step} lacks {file}"


def test_run_again_it_does_nothing_again(demo: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*.npy")}
    assert main(["demo", f"output={demo}", *SMALL]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in demo.rglob("*.npy")}


def test_one_step_lost_is_one_step_done_again(demo: Path) -> None:
    metrics = json.loads((demo / "metrics.json").read_text())
    # What was cut off half-way: no mark and no report.
    (demo / "DONE").unlink()
    (demo / "report.html").unlink()
    assert main(["demo", f"output={demo}", *SMALL]) == 0
    again = json.loads((demo / "metrics.json").read_text())
    assert again["acceptance"] == metrics["acceptance"]
    assert again["criteria"] == metrics["criteria"]


def test_the_python_face_gives_mdtraj_trajectories(demo: Path) -> None:
    simulator = mdgen.load(demo / "generate")
    first, second = simulator.rollout(n_frames=7, n_trajectories=2, seed=3)
    assert isinstance(first, mdtraj.Trajectory)
    assert first.xyz.shape == (7, 22, 3)
    assert np.isfinite(second.xyz).all()
    again = simulator.rollout(n_frames=7, n_trajectories=2, seed=3)[0]
    assert np.array_equal(first.xyz, again.xyz)
    started = simulator.rollout(start=first, n_frames=3, n_trajectories=1, seed=0)[0]
    assert started.xyz.shape == (3, 22, 3)


@pytest.fixture(scope="module")
def files(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulation as a user's own files: three xtc trajectories and a topology."""
    folder = tmp_path_factory.mktemp("files")
    store = TrajectoryStore.open(demo / "simulate/trajectories")
    for index in range(6):
        trajectory = mdtraj.Trajectory(store.positions(index), store.molecule.topology, time=np.arange(store.n_frames))
        trajectory.save_dcd(str(folder / f"{index}.dcd"))
    trajectory[0].save_pdb(str(folder / "top.pdb"))
    return folder


def test_own_trajectories_by_naming_files_and_topology(files: Path, tmp_path: Path) -> None:
    data = [f"data.trajectories={files}/*.dcd", f"data.topology={files}/top.pdb", "data.frame_spacing_ps=1"]
    own = [each for each in SMALL if not each.startswith(("simulate.", "four_wells."))]
    assert main(["demo", f"output={tmp_path}/own", "four_wells=null", *data, *own]) == 0
    assert (tmp_path / "own/report.html").is_file()
    assert not (tmp_path / "own/simulate").exists()


def test_bad_trajectories_are_one_sentence_each(
    demo: Path, files: Path, tmp_path: Path, said: Callable[..., str]
) -> None:
    def train(*arguments: str) -> str:
        given = ["encoder=srv", "encoder.model.lag_ps=1", "data.frame_spacing_ps=1", f"data.topology={files}/top.pdb"]
        return said("train", f"output={tmp_path}/train", *given, *arguments)

    assert "does not exist" in train(f"data.trajectories={files}/nowhere.dcd")
    cut = tmp_path / "cut.dcd"
    cut.write_bytes((files / "0.dcd").read_bytes()[:5000])
    assert "cut.dcd" in train(f"data.trajectories={cut}")
    ions = tmp_path / "ions.pdb"
    mdtraj.load(str(files / "top.pdb")).atom_slice(range(10)).save_pdb(str(ions))
    assert "22 atoms" in train(f"data.trajectories={files}/0.dcd", f"data.topology={ions}")
    positions = mdtraj.load(str(files / "0.dcd"), top=str(files / "top.pdb")).xyz.copy()
    positions[3, 4, 1] = np.nan
    np.save(tmp_path / "nan.npy", positions)
    assert "frame 3" in train(f"data.trajectories={tmp_path}/nan.npy")
    assert "lag" in train(f"data.trajectories={files}/0.dcd", "encoder.model.lag_ps=1000")
    assert "multiple" in train(f"data.trajectories={files}/0.dcd", "encoder.model.lag_ps=1.5")
    assert not (tmp_path / "train/encoder.safetensors").exists()
    assert not (tmp_path / "train/DONE").exists()


def test_bad_systems_and_checkpoints_are_one_sentence_each(
    demo: Path, tmp_path: Path, said: Callable[..., str]
) -> None:
    assert "X" in said("simulate", "system.sequence=AXA", f"output={tmp_path}/x")
    parts = [f"{part}_run={demo}/{part}" for part in ("propagator", "decoder")]
    torch.save({"weights": torch.zeros(3)}, tmp_path / "pickle.safetensors")
    sentence = said("generate", f"encoder_run={tmp_path}/pickle.safetensors", *parts, f"output={tmp_path}/g")
    assert "pickle.safetensors" in sentence
    wrong = said("generate", f"encoder_run={demo}/decoder/decoder.safetensors", *parts, f"output={tmp_path}/h")
    assert wrong
    assert "model was not given" in said("generate", f"output={tmp_path}/i")
    missing = said("generate", f"encoder_run={tmp_path}", *parts, f"output={tmp_path}/j")
    assert "no encoder.safetensors" in missing
    other = said("simulate", f"output={demo}/simulate", "n_replicas=8")
    assert "other settings" in other
