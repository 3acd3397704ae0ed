"""Run folders of strangers are data: what they name is opened by the rules of the command line, and nothing runs."""

import os
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from omegaconf import OmegaConf

from mdgen.apps.config.composition import compose, plain
from mdgen.apps.config.instantiation import instantiate
from mdgen.apps.runs.molecule_pairs import configs_of_pairs
from mdgen.apps.train import with_data_of_encoder
from mdgen.apps.trajectories import open_data
from mdgen.data.trajectories import write_trajectory
from mdgen.errors import MdgenError
from mdgen.molecule.topology import Molecule
from mdgen.training.settings import settings_for


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.made),)


def hostile(path: Path, made: Path) -> Path:
    """A whole trajectory of mdtraj's whose every node has attributes that run code in PyTables."""
    frames = np.random.default_rng(0).normal(size=(3, 2, 3)).astype(np.float32)
    write_trajectory(path, frames, Molecule.particles(["A", "B"]), 0.5)
    content = np.bytes_(pickle.dumps(Payload(made), 0))
    with h5py.File(path, "r+") as file:
        for node in (file, *file.values()):
            for name in ("TITLE", "CLASS", "FLAVOR", "FILTERS", "custom"):
                node.attrs[name] = content
    return path


def encoder_run(folder: Path, **data: Any) -> Path:
    """A run of `mdgen train encoder=srv` that somebody else has made."""
    option = ["encoder=srv", *(["data=molecules", "data.frames=8"] if "molecules" in data else [])]
    config = plain(compose("train", option))
    config["data"] |= data
    folder.mkdir()
    (folder / "config.yaml").write_text(OmegaConf.to_yaml({"verb": "train", **config}))
    return folder


def data_of(run: Path) -> dict[str, Any]:
    return with_data_of_encoder({**plain(compose("train", ["propagator=mdn"])), "encoder_run": str(run)})["data"]


@pytest.mark.parametrize("key", ["trajectories", "topology"])
def test_an_h5_file_that_an_encoder_run_names_runs_nothing(tmp_path: Path, key: str) -> None:
    made, file = tmp_path / "made", hostile(tmp_path / "a.h5", tmp_path / "made")
    data = data_of(encoder_run(tmp_path / "run", **{"trajectories": str(file), key: str(file)}))
    assert open_data(data).lengths == (3,)
    assert not made.exists()


def test_an_h5_topology_that_a_folder_of_pairs_brings_runs_nothing(tmp_path: Path) -> None:
    made, folder = tmp_path / "made", tmp_path / "pairs" / "one"
    folder.mkdir(parents=True)
    for name in ("topology", "reference", "generated"):
        hostile(folder / f"{name}.h5", made)
    config = {
        role: {"topology": None, "fraction": [0.0, 1.0]} for role in ("reference", "generated", "replicate", "training")
    }
    (found,) = configs_of_pairs({**config, "pairs": str(tmp_path / "pairs"), "output": str(tmp_path / "out")})
    for role in ("reference", "generated"):
        assert found[role]["topology"] == str(folder / "topology.h5")
        assert open_data(found[role], role).lengths == (3,)
    assert not made.exists()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"trajectories": {"_target_": "os.system"}}, "lacks data.trajectories"),
        ({"trajectories": 3}, "data.trajectories=3: expected a path"),
        ({"trajectories": "a", "fraction": "all"}, "data.fraction=all: expected a list of two numbers"),
        ({"trajectories": "a", "frame_spacing_ps": "abc"}, "expected a number, or null"),
        ({"trajectories": "a", "surprise": 3}, "no key data.surprise"),
        ({"molecules": "a", "loader": {"_target_": "mdgen.apps.runs.run_logger.wandb"}}, "which no command does"),
    ],
)
def test_what_no_command_could_say_is_refused(tmp_path: Path, data: dict, said: str) -> None:
    with pytest.raises(MdgenError, match=said):
        data_of(encoder_run(tmp_path / "run", **data))


def test_interpolations_stay_text(tmp_path: Path) -> None:
    assert data_of(encoder_run(tmp_path / "run", trajectories="${oc.env:HOME}"))["trajectories"] == "${oc.env:HOME}"


def test_data_of_molecules_are_taken_over(tmp_path: Path) -> None:
    assert data_of(encoder_run(tmp_path / "run", molecules="somewhere"))["molecules"] == "somewhere"


NONSENSE = [
    "encoder.training.max_epochs=-1",
    "encoder.training.max_epochs=0",
    "encoder.training.patience=-1",
    "encoder.training.batch_size=-1",
    "encoder.training.optimizer.lr=0",
    "encoder.training.optimizer.lr=-1",
    "encoder.training.validation_share=1",
]


@pytest.mark.parametrize("word", NONSENSE)
def test_a_training_that_is_none_is_refused(word: str) -> None:
    training = plain(compose("train", ["encoder=srv", word]))["encoder"]["training"]
    given = instantiate({**training, "_partial_": True}).keywords
    key = word.split("=")[0].removeprefix("encoder.training.")
    with pytest.raises(MdgenError, match=f"^{key}="):
        settings_for(None, **given, seed=0)
