"""A part that is trained in an encoder's latent space takes that encoder's data, and nothing else by accident."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from mdgen.apps.config.composition import compose, plain
from mdgen.apps.train import with_data_of_encoder
from mdgen.apps.trajectories import open_data
from mdgen.errors import MdgenError

DATA = {"trajectories": "md/*.xtc", "topology": "md/top.pdb", "frame_spacing_ps": 1.0, "fraction": [0.0, 0.5]}
DATA["temperature_K"] = 300.0


def config(run: Path, *overrides: str) -> dict[str, Any]:
    made: dict[str, Any] = plain(compose("train", ["propagator=mdn", f"encoder_run='{run}'", *overrides]))
    return made


def run_folder(path: Path, content: Any) -> Path:
    path.mkdir()
    (path / "config.yaml").write_text(content if isinstance(content, str) else OmegaConf.to_yaml(content))
    return path


@pytest.fixture
def encoder_run(tmp_path: Path) -> Path:
    return run_folder(tmp_path / "encoder", {"verb": "train", "encoder": {"model": {}}, "data": DATA})


def test_the_data_of_the_encoder_are_taken_unless_others_are_named(encoder_run: Path) -> None:
    assert with_data_of_encoder(config(encoder_run))["data"] == DATA
    own = with_data_of_encoder(config(encoder_run, "data.trajectories=mine.npy", "data.fraction=[0,0.3]"))["data"]
    assert own == {"trajectories": "mine.npy", "topology": None, "frame_spacing_ps": None, "fraction": [0, 0.3]} | {
        "temperature_K": None
    }


def test_many_molecules_are_data_of_their_own(encoder_run: Path) -> None:
    named = config(encoder_run, "data=molecules", "data.molecules=runs", "data.frames=3")
    assert with_data_of_encoder(named) == named
    with pytest.raises(MdgenError, match=r"data.molecules names many molecules where one is needed"):
        open_data(named["data"])


def test_the_file_of_an_encoder_stands_for_its_run(encoder_run: Path) -> None:
    (encoder_run / "encoder.safetensors").touch()
    assert with_data_of_encoder(config(encoder_run / "encoder.safetensors"))["data"] == DATA


@pytest.mark.parametrize("given", ["data.fraction=[0,0.3]", "data.topology=other.pdb", "data.frame_spacing_ps=2"])
def test_what_is_said_of_data_that_are_not_named_is_refused(encoder_run: Path, given: str) -> None:
    with pytest.raises(MdgenError, match=rf"{given.split('=')[0]}=.* was given without data.trajectories"):
        with_data_of_encoder(config(encoder_run, given))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"verb": "simulate", "n_replicas": 3}, "is no run of `mdgen train encoder"),
        ({"verb": "demo", "data": DATA}, "is no run of `mdgen train encoder"),
        ({"verb": "train", "propagator": {}, "data": DATA}, "is no run of `mdgen train encoder"),
        ({"verb": "train", "encoder": {}, "data": {"trajectories": "x"}}, "config.yaml lacks data.topology; train"),
        ({"verb": "train", "encoder": {}, "data": None}, "config.yaml holds no data; train the encoder again"),
        ("[1, 2]", "config.yaml is no config of a run; train the encoder again"),
        ("", "is no run of `mdgen train encoder"),
    ],
)
def test_another_kind_of_run_is_no_encoder_run(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(MdgenError, match=said):
        with_data_of_encoder(config(run_folder(tmp_path / "run", content)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [1, 2", "config.yaml is no plain YAML"),
        ("\tx: 1", "config.yaml is no plain YAML"),
        ("just text", "is no run of `mdgen train encoder"),
        ("a: ${b", "config.yaml cannot be read"),
    ],
)
def test_a_config_that_cannot_be_read_is_one_sentence(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(MdgenError, match=said) as error:
        with_data_of_encoder(config(run_folder(tmp_path / "run", content)))
    assert "\n" not in str(error.value)
