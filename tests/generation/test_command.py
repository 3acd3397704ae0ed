"""`mdgen generate` for each task, with parts of a plug-in in files, and its mistakes in one sentence."""

import json

import mdtraj
import numpy as np
import pytest
import torch
from torch import nn

import mdgen
from mdgen.apps import generate
from mdgen.apps.main import main
from mdgen.data.store import TrajectoryStore
from mdgen.generation.simulator import LatentSimulator
from tests.generation.toys import MOLECULE, Atoms, GaussianProcess

FRAMES = np.random.default_rng(1).normal(size=(2, 5, 2, 3)).astype(np.float32)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the command with a Gaussian process of nine frames in place of what the files hold; gives what it said."""
    for part in ("encoder", "propagator", "decoder"):
        (tmp_path / f"{part}.safetensors").write_bytes(part.encode())
    made = LatentSimulator(Atoms(temperature_K=300.0), GaussianProcess(9), Atoms())
    monkeypatch.setattr(generate, "load", lambda folder: made)
    for name, frames in (("a", FRAMES[0, :1]), ("b", FRAMES[1, :1])):
        mdtraj.Trajectory(frames, MOLECULE.topology).save_pdb(str(tmp_path / f"{name}.pdb"))
    with TrajectoryStore.create(tmp_path / "coarse", MOLECULE, 8.0, 2) as store:
        store.append(FRAMES)
    with TrajectoryStore.create(tmp_path / "fine", MOLECULE, 2.0, 2) as store:
        store.append(FRAMES)
    np.save(tmp_path / "coarse.npy", FRAMES[0])
    monkeypatch.chdir(tmp_path)

    def said(*arguments):
        parts = [f"{part}_run={part}.safetensors" for part in ("encoder", "propagator", "decoder")]
        code = main(["generate", *parts, "output=run", "n_trajectories=2", *arguments])
        return code, capsys.readouterr().err

    return said


def made(tmp_path):
    store = TrajectoryStore.open(tmp_path / "run/trajectories")
    return store, np.stack([store.positions(index) for index in range(2)])


def test_rollout_is_the_default_task(run, tmp_path):
    assert run("start=a.pdb", "length_ns=0.024", "temperature_K=300")[0] == 0
    store, xyz = made(tmp_path)
    assert xyz.shape == (2, 12, 2, 3)
    assert np.allclose(xyz[:, 0], FRAMES[0, 0], atol=1e-4)
    assert store.metadata == {"generated": True, "temperature_K": 300.0}
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["task"] == "rollout"
    assert metrics["temperature_K"] == 300.0
    assert metrics["total_us"] == pytest.approx(2 * 12 * 2.0 / 1e6)


def test_interpolate(run, tmp_path):
    assert run("task=interpolate", "start=a.pdb", "end=b.pdb", "length_ns=0.016", "export=xtc")[0] == 0
    _, xyz = made(tmp_path)
    assert xyz.shape == (2, 9, 2, 3)
    assert np.allclose(xyz[:, [0, -1]], [[FRAMES[0, 0], FRAMES[1, 0]]], atol=1e-4)
    exported = mdtraj.load(str(tmp_path / "run/trajectory-0000.xtc"), top=str(tmp_path / "run/topology.pdb"))
    assert exported.timestep == pytest.approx(2.0)


@pytest.mark.parametrize("coarse", [["coarse=coarse"], ["coarse=coarse.npy", "frame_spacing_ps=2"]])
def test_upsample(coarse, run, tmp_path):
    assert run("task=upsample", *coarse, "factor=4")[0] == 0
    store, xyz = made(tmp_path)
    assert np.array_equal(xyz[0, ::4], FRAMES[0])
    assert store.frame_spacing_ps == 2.0


def test_inpaint(run, tmp_path):
    assert run("task=inpaint", "known=fine", "tokens=[1]")[0] == 0
    _, xyz = made(tmp_path)
    assert np.array_equal(xyz[:, :, 1], FRAMES[:, :, 1])
    assert not np.isclose(xyz[:, :, 0], FRAMES[:, :, 0]).any()


MISTAKES = [
    (["task=extrapolate"], "task=extrapolate"),
    (["task=interpolate", "start=a.pdb"], "end was not given"),
    (["task=upsample", "coarse=coarse"], "factor was not given"),
    (["task=upsample", "coarse=coarse", "factor=4", "start=a.pdb"], "start=a.pdb says nothing to task=upsample"),
    (["factor=3"], "factor=3 says nothing to task=rollout, which takes start"),
    (["task=upsample", "coarse=coarse", "factor=2"], "frame_spacing_ps=4 follows from the times of the known"),
    (
        ["task=upsample", "coarse=coarse", "factor=4", "frame_spacing_ps=1"],
        "factor=4 does not divide the 8 ps between the coarse",
    ),
    (["task=inpaint", "known=coarse", "tokens=[1]"], "frame_spacing_ps=8 follows from"),
    (["task=interpolate", "start=a.pdb", "end=b.pdb", "length_ns=0.018"], "GaussianProcess makes at most 9 frames"),
    (["start=a.pdb", "length_ns=0.0001"], "is shorter than one frame, 2 ps"),
    (["start=a.pdb", "temperature_K=310"], "temperature_K=310 was asked for, but the parts were trained at 300 K"),
    (["start=a.pdb", "frame_spacing_ps=1"], "frame_spacing_ps=1 was asked for"),
    (["start=a.pdb", "device=abacus"], "device=abacus was asked for, but torch finds no such device"),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES)
def test_a_mistake_is_one_sentence_and_leaves_no_folder(arguments, sentence, run, tmp_path):
    code, said = run(*arguments)
    assert code == 2
    assert sentence in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_a_simulator_moves_its_modules():
    class Decoder(nn.Module):
        latent, molecule = Atoms.latent, Atoms.molecule

        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def decode(self, latent, context, generator):
            return latent * self.scale

    decoder = Decoder()
    simulator = LatentSimulator(Atoms(), GaussianProcess(9), decoder).to("meta")
    assert decoder.scale.device.type == simulator.device.type == "meta"
    with pytest.raises(mdgen.errors.MdgenError, match="device=cuda:99"):
        simulator.to("cuda:99")
