"""Python as a first-class way in: training as documented runs as it stands; loading, latents, quick imports."""

import subprocess
import sys
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch

import mdgen
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.generation.simulator import LatentSimulator
from mdgen.models.checkpoint import save_model
from mdgen.models.decoders.cwgan import CWGAN
from mdgen.models.encoders.srv import SRV
from mdgen.training import train as training
from mdgen.training.settings import settings_for
from tests.generation.toys import MOLECULE, Atoms, GaussianProcess
from tests.models.parts import trained_encoder
from tests.models.structures import alanine_dipeptide, frames

PAGE = Path(__file__).parents[2] / "notebooks/docs/how_to/in_python.md"
pytestmark = pytest.mark.usefixtures("one_filter_round")

FRAMES = np.random.default_rng(1).normal(size=(6, 2, 3)).astype(np.float32)


def short(part: object, **given: object) -> object:
    """The settings of a part, for a training of seconds."""
    passes = {"n_steps": 4} if part.learns_from == "frames" else {"max_epochs": 1}
    return settings_for(part, **{**given, **passes, "batch_size": 64})


@pytest.fixture
def simulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished simulation of alanine dipeptide in runs/simulate of the current folder."""
    monkeypatch.chdir(tmp_path)
    details = {"temperature_K": 300.0}
    with TrajectoryStore.create("runs/simulate/trajectories", alanine_dipeptide(), 1.0, 4, details) as store:
        store.append(np.stack([frames(200, seed).numpy() for seed in range(4)]))
    (tmp_path / "runs/simulate/DONE").touch()
    return tmp_path


def test_training_in_ten_lines(
    simulation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The block of the page as it stands, with fewer steps."""
    monkeypatch.setattr(training, "settings_for", short)
    monkeypatch.setattr(CWGAN, "_fit_ratio", lambda *_: None)
    (block,) = (each for each in PAGE.read_text().split("```python\n") if "SRV(" in each)
    block = block.split("```")[0]
    statements = [line for line in block.splitlines() if line and not line.startswith(("from", "import", "print"))]
    assert len(statements) <= 10
    names: dict[str, object] = {}
    exec(block, names)
    assert "timescales" in capsys.readouterr().out
    loaded = mdgen.load(simulation / "runs/mine")
    assert loaded.temperature_K == 300.0
    trajectory = names["data"][0]
    np.testing.assert_array_equal(loaded.latent(trajectory), names["simulator"].latent(trajectory))
    part = mdgen.load(simulation / "runs/mine/encoder.safetensors")
    assert isinstance(part, SRV)
    (made,) = loaded.rollout(n_frames=3, seed=1)
    np.testing.assert_array_equal(made.xyz, names["simulator"].rollout(n_frames=3, seed=1)[0].xyz)


def test_a_part_is_loaded_from_its_run(tmp_path: Path) -> None:
    save_model(tmp_path / "run" / "encoder.safetensors", trained_encoder("SRV"))
    part = mdgen.load(tmp_path / "run")
    assert isinstance(part, SRV)
    assert part.metadata["frame_spacing_ps"] == 0.5
    with pytest.raises(MdgenError, match="nowhere is not a folder"):
        mdgen.load("nowhere")


@pytest.mark.parametrize("name", ["SRV", "TICA", "SE3TokenEncoder"])
def test_encode_takes_mdtraj_and_numpy(name: str) -> None:
    encoder, molecule, positions = trained_encoder(name), alanine_dipeptide(), frames(7)
    trajectory = mdtraj.Trajectory(positions.numpy(), molecule.topology)
    with torch.no_grad():
        latent = encoder.encode(trajectory)
        assert latent.shape[0] == 7
        if name != "SE3TokenEncoder":
            torch.testing.assert_close(encoder.encode(positions.numpy()), latent)
            torch.testing.assert_close(encoder.encode(positions), latent)
            with pytest.raises(MdgenError, match="the trajectory"):
                encoder.encode(trajectory.atom_slice(range(10)))


def test_the_latents_of_a_simulator() -> None:
    simulator = LatentSimulator(Atoms(temperature_K=300.0), GaussianProcess(9), Atoms())
    trajectory = mdtraj.Trajectory(FRAMES, MOLECULE.topology)
    for given in (trajectory, FRAMES, torch.tensor(FRAMES)):
        np.testing.assert_array_equal(simulator.latent(given), FRAMES)
    with pytest.raises(MdgenError, match="Atoms knows no timescales"):
        _ = simulator.timescales_ps


def test_importing_the_package_imports_nothing_large() -> None:
    large = ("torch", "numpy", "mdtraj", "openmm", "numba", "lightning", "hydra")
    code = f"import sys, mdgen; print([each for each in {large} if each in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
