"""Two processes that train one part together, started by Lightning from the command line (gloo, on the CPU)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from mdgen.models.checkpoint import load_model
from mdgen.models.fingerprint import fingerprint
from tests.models.structures import alanine_dipeptide, frames

SCRIPT = """
import os, sys
from mdgen.apps import train as app
from mdgen.apps.main import main
from mdgen.models.fingerprint import fingerprint

trained = app.train


def train(part, *arguments):
    metrics = trained(part, *arguments)
    with open(f"rank-{os.environ.get('LOCAL_RANK', '0')}", "w") as file:
        file.write(fingerprint(part))
    return metrics


if __name__ == "__main__":
    app.train = train
    sys.exit(main(sys.argv[1:]))
"""
SMALL = {
    "encoder": "encoder=srv encoder.model.hidden=[8] encoder.model.lag_ps=1.0 encoder.training.max_epochs=3 "
    "encoder.training.batch_size=200 trainer.checkpoint_interval_s=0.0",
    "decoder": "decoder=cwgan decoder.model.hidden=[8,8] decoder.model.ratio_steps=2 decoder.training.n_steps=10 "
    "decoder.training.batch_size=16 encoder_run=encoder",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("processes")
    (path / "script.py").write_text(SCRIPT)
    positions = [frames(400, seed).numpy() for seed in range(5)]
    np.save(path / "positions.npy", np.stack(positions))
    mdtraj.Trajectory(positions[0][:1], alanine_dipeptide().topology).save_pdb(str(path / "topology.pdb"))
    return path


def run(folder: Path, part: str, output: str, *more: str) -> dict:
    """Metrics of a training by the command line."""
    data = ["data.trajectories=positions.npy", "data.topology=topology.pdb", "data.frame_spacing_ps=0.5"]
    command = [sys.executable, "script.py", "train", *SMALL[part].split(), *data, f"output={output}", *more]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((folder / output / "metrics.json").read_text())


def test_two_processes_train_one_encoder_and_leave_one_file(folder: Path) -> None:
    metrics = run(folder, "encoder", "encoder", "trainer.devices=2", "trainer.strategy=ddp")
    ranks = [(folder / f"rank-{rank}").read_text() for rank in (0, 1)]
    assert ranks[0] == ranks[1] == fingerprint(load_model(folder / "encoder" / "encoder.safetensors"))
    files = {file.name for file in (folder / "encoder").iterdir()}
    assert {"encoder.safetensors", "encoder.ckpt", "metrics.json", "DONE"} <= files
    assert not [name for name in files if name.endswith(".part")]
    assert len(metrics["history"]) == 3
    assert metrics["history"][-1]["train/loss"] < metrics["history"][0]["train/loss"]
    # phi changes its state with probability 0.02 a frame; the lag is two frames.
    assert metrics["eigenvalues"][0] == pytest.approx(0.96**2, abs=0.06)


@pytest.mark.slow
def test_two_processes_train_one_decoder(folder: Path) -> None:
    if not (folder / "encoder" / "DONE").is_file():
        run(folder, "encoder", "encoder")
    run(folder, "decoder", "decoder", "trainer.devices=2", "trainer.strategy=ddp")
    assert (folder / "rank-0").read_text() == (folder / "rank-1").read_text()
