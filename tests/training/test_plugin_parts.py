"""A new part is one file outside of mdgen: trained, kept in a file, composed, and loaded by its name alone."""

import sys
from pathlib import Path

import pytest
import torch

from mdgen import registry
from mdgen.errors import MdgenError
from mdgen.generation.simulator import LatentSimulator
from mdgen.interfaces import Condition, Context
from mdgen.models.checkpoint import load_model, save_model
from mdgen.training.train import train
from tests.isolated_registry import isolated
from tests.models.parts import LAG_PS, MOLECULE, seeded, trajectories

PLUGINS = Path(__file__).parents[1] / "plugins"


@pytest.fixture
def toys(monkeypatch):
    """The plug-in as a user has it: on the path, and named."""
    monkeypatch.syspath_prepend(PLUGINS)
    with isolated():
        registry.load_plugins(["toy_parts"])
        yield sys.modules["toy_parts"]


def test_three_new_parts_make_a_simulator(toys, tmp_path):
    encoder = registry.resolve("toy_parts.toy_encoder.ChainShape")()
    train(encoder, trajectories())
    propagator = registry.resolve("toy_parts.toy_propagator.OrnsteinUhlenbeck")(encoder.latent, LAG_PS)
    metrics = train(propagator, trajectories(), encoder=encoder)
    assert metrics["history"][-1]["train/loss"] < metrics["history"][0]["train/loss"]
    decoder = registry.resolve("toy_parts.toy_decoder.LinearDecoder")(encoder.latent, MOLECULE)
    metrics = train(decoder, trajectories(), encoder=encoder)
    assert metrics["history"][-1]["train/loss"] < metrics["history"][0]["train/loss"]
    loaded = []
    for name, part in (("encoder", encoder), ("propagator", propagator), ("decoder", decoder)):
        save_model(tmp_path / f"{name}.safetensors", part)
        loaded.append(load_model(tmp_path / f"{name}.safetensors"))
    made, again = (LatentSimulator(*parts).rollout(n_frames=8) for parts in ((encoder, propagator, decoder), loaded))
    assert made[0].xyz.shape == (8, MOLECULE.n_atoms, 3)
    assert (made[0].xyz == again[0].xyz).all()


def test_a_propagator_of_windows_learns_the_conditions_it_is_asked_for(toys):
    encoder = registry.resolve("toy_parts.toy_encoder.ChainShape")()
    train(encoder, trajectories())
    filler = registry.resolve("toy_parts.toy_propagator.WindowFiller")(encoder.latent, LAG_PS, window=6)
    metrics = train(filler, trajectories(), encoder=encoder)
    assert metrics["n_examples"] == 5 * (300 - 10)
    assert metrics["history"][-1]["validation/loss"] < metrics["history"][0]["validation/loss"]
    ends = torch.zeros(3, 6, 1, 2)
    known = torch.zeros(3, 6, 1, 2, dtype=torch.bool)
    known[:, [0, -1]] = True
    made = filler.sample(Condition(ends, known), Context(), seeded())
    assert (made[known] == 0).all()
    assert (made[~known] != 0).all()


def test_a_file_of_a_plug_in_that_was_not_named_is_refused(toys, tmp_path, monkeypatch):
    save_model(tmp_path / "encoder.safetensors", toys.toy_encoder.ChainShape())
    with monkeypatch.context() as another_process:
        another_process.delitem(registry._PARTS, "toy_parts.toy_encoder.ChainShape")
        another_process.delitem(sys.modules, "toy_parts.toy_encoder")
        with pytest.raises(MdgenError, match=r"ChainShape' is not registered .* plugins=\[toy_parts"):
            load_model(tmp_path / "encoder.safetensors")
    assert type(load_model(tmp_path / "encoder.safetensors")) is toys.toy_encoder.ChainShape
