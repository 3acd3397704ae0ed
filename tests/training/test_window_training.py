"""A part that learns from windows of many molecules: trained, interrupted, resumed, and named on the command line."""

import functools
import json
import sys
from pathlib import Path

import pytest
import torch

from mdgen import registry
from mdgen.apps.main import main
from mdgen.apps.trajectories import open_windows
from mdgen.data.store import TrajectoryStore
from mdgen.data.trajectories import open_trajectories
from mdgen.documents import read_yaml
from mdgen.errors import MdgenError
from mdgen.interfaces import Context
from mdgen.models.checkpoint import load_model
from mdgen.training.settings import TrainerSettings, settings_for
from mdgen.training.train import begin_with, train
from tests.data.conftest import argon, walk
from tests.isolated_registry import isolated
from tests.models.parts import FEATURES, SRV

PLUGINS = Path(__file__).parents[1] / "plugins"
EVERY_EPOCH = TrainerSettings(checkpoint_interval_s=0.0)


@pytest.fixture
def mobility(monkeypatch):
    """The toy part's class, as a plug-in."""
    monkeypatch.syspath_prepend(PLUGINS)
    with isolated():
        registry.load_plugins(["toy_parts"])
        yield sys.modules["toy_parts"].toy_windows.Mobility


@pytest.fixture
def molecules(tmp_path):
    """Two molecules of different size, at two temperatures, and two trajectories of each."""
    for n_atoms, kelvin in ((5, 300.0), (9, 350.0)):
        store = TrajectoryStore.create(tmp_path / f"data/{n_atoms}", argon(n_atoms), 0.2, 2, {"temperature_K": kelvin})
        with store:
            store.append(torch.tensor([walk(40, n_atoms + seed, n_atoms).tolist() for seed in (0, 50)]).numpy())
    return tmp_path / "data"


def loaders(molecules, **changed):
    loader = {"_target_": "mdgen.data.loading.WindowLoader", "batch_size": 8}
    shares = {"validation_share": 0.25, "test_share": 0.0, "split_by": "trajectory"}
    windows = {"frames": 4, "window_spacing_ps": 0.4, "hop_ps": None, "fraction": [0.0, 1.0]}
    return open_windows({"molecules": str(molecules), "loader": loader, **shares, **windows, **changed}, 1)


class Interrupted:
    """A loss that ends in Ctrl-C when it is called for the n-th time; `calls` says how often it was."""

    def __init__(self, part, after=None):
        self.loss, self.after, self.calls, self.batches = part.loss, after, 0, []
        part.loss = self

    def __call__(self, batch, generator):
        self.calls += 1
        if self.after is not None and self.calls > self.after:
            raise KeyboardInterrupt
        self.batches.append(batch)
        return self.loss(batch, generator)


def fitted(mobility, molecules, folder, after=None):
    torch.manual_seed(0)
    part = mobility()
    watched = Interrupted(part, after)
    metrics = train(part, loaders(molecules), settings_for(part, max_epochs=3), machine=EVERY_EPOCH, folder=folder)
    return part, metrics, watched


def test_an_interrupted_training_on_two_molecules_resumes_to_the_same_weights(mobility, molecules, tmp_path):
    whole, metrics, watched = fitted(mobility, molecules, None)
    assert metrics["n_frames"] == 3 * 40
    assert metrics["n_examples"] == 3 * 34
    assert len(metrics["history"]) == 3
    assert metrics["history"][-1]["validation/loss"] < metrics["history"][0]["validation/loss"]
    both = next(
        batch for batch in watched.batches if len(batch.context.molecules) > 1 and not batch.context.atom_mask.all()
    )
    assert both.positions.shape[1:] == (4, 9, 3)
    assert (both.positions.transpose(1, 2)[~both.context.atom_mask] == 0).all()
    a_epoch = watched.calls // 3
    with pytest.raises(KeyboardInterrupt):
        fitted(mobility, molecules, tmp_path, after=a_epoch + 2)
    resumed, again, rest = fitted(mobility, molecules, tmp_path)
    assert rest.calls == 2 * a_epoch
    assert again["history"] == metrics["history"]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_padding_does_not_change_the_loss(mobility, molecules):
    part = mobility()
    batch = next(iter(loaders(molecules, validation_share=0.0).training))
    assert not batch.context.atom_mask.all()
    filled = torch.where(batch.context.atom_mask[:, None, :, None], batch.positions, 7.0)
    generator = torch.Generator()
    assert part.loss(type(batch)(filled, batch.context), generator).total == part.loss(batch, generator).total


def test_one_molecule_is_windowed_by_what_the_part_asks_for(mobility, molecules):
    part = mobility(window=3)
    metrics = train(part, open_trajectories(molecules / "5"), settings_for(part, validation_share=0.3))
    assert len(metrics["history"]) == 2
    assert metrics["n_frames"] < 80
    assert metrics["history"][-1]["validation/loss"] < metrics["history"][0]["validation/loss"]
    latent = part.encode(torch.randn(2, 6, 5, 3), Context())
    assert latent.shape == (2, 6, 1, 1)


def test_data_that_do_not_suit_are_named(mobility, molecules):
    with pytest.raises(MdgenError, match="windows of 4 frames, and a Mobility takes 6"):
        train(mobility(window=6), loaders(molecules))
    with pytest.raises(MdgenError, match="leave n_steps=0"):
        train(mobility(), loaders(molecules), settings_for(mobility(), n_steps=100))
    with pytest.raises(MdgenError, match="a SRV learns from one molecule"):
        train(SRV(FEATURES, 1.0, n_modes=2, hidden=[8]), loaders(molecules))


def test_the_command_line_trains_on_many_molecules(mobility, molecules, tmp_path, capsys):
    command = ["train", "plugins=[toy_parts]", "encoder=toy_windows", "data=molecules", f"data.molecules={molecules}"]
    command += ["data.split_by=trajectory", "data.validation_share=0.25", "data.test_share=0", f"output={tmp_path}/run"]
    assert main(command) == 2
    assert "data.frames" in capsys.readouterr().err
    command.append("data.frames=5")
    assert main([*command, "data.loader.workers=2"]) == 2
    assert "data.loader.workers" in capsys.readouterr().err
    assert main([*command, "data.loader.num_workers=two"]) == 2
    assert "data.loader.num_workers" in capsys.readouterr().err
    assert main([*command, "data.loader.batch_size=8", "encoder.training.max_epochs=2"]) == 0
    assert len(json.loads((tmp_path / "run/metrics.json").read_text())["history"]) == 2
    part = load_model(tmp_path / "run/encoder.safetensors")
    assert part.window == 5
    assert part.metadata["molecule"] is None
    assert part.metadata["temperature_K"] == [300.0, 350.0]
    assert part.metadata["frame_spacing_ps"] == 0.2


def test_a_training_is_not_resumed_on_other_data(mobility, molecules, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fitted(mobility, molecules, tmp_path, after=20)
    with pytest.raises(MdgenError, match="the order of the data cannot be resumed: its buckets"):
        train(mobility(), loaders(molecules, hop_ps=0.4), machine=EVERY_EPOCH, folder=tmp_path)


def test_a_training_begins_with_the_weights_of_another(mobility, molecules, tmp_path):
    first, _, _ = fitted(mobility, molecules, None)
    still = settings_for(mobility(), max_epochs=1, optimizer=functools.partial(torch.optim.SGD, lr=1e-30))
    part = mobility()
    train(part, loaders(molecules), still, initial=first)
    for name, weights in first.named_parameters():
        assert torch.equal(weights, dict(part.named_parameters())[name]), name
    with pytest.raises(MdgenError, match="initial holds a SRV"):
        train(mobility(), loaders(molecules), still, initial=SRV(FEATURES, 1.0, n_modes=2, hidden=[8]))
    with pytest.raises(MdgenError, match="initial has other sizes: "):
        begin_with(SRV(FEATURES, 1.0, n_modes=2, hidden=[4]), SRV(FEATURES, 1.0, n_modes=2, hidden=[8]))


def test_the_command_line_trains_on(mobility, molecules, tmp_path, capsys):
    command = ["train", "plugins=[toy_parts]", "encoder=toy_windows", "data=molecules", f"data.molecules={molecules}"]
    command += ["data.split_by=trajectory", "data.validation_share=0.25", "data.test_share=0", "data.frames=5"]
    command += ["data.loader.batch_size=8", "encoder.training.max_epochs=1"]
    assert main([*command, f"output={tmp_path}/first"]) == 0
    assert main([*command, f"initial={tmp_path}/first", f"output={tmp_path}/second"]) == 0
    first, second = (json.loads((tmp_path / f"{each}/metrics.json").read_text()) for each in ("first", "second"))
    assert second["history"][0]["train/loss"] < first["history"][0]["train/loss"]
    assert read_yaml(tmp_path / "second/config.yaml", "train again")["inputs"]["initial"]
    assert main([*command, "initial=nowhere", f"output={tmp_path}/third"]) == 2
    assert "nowhere is not a folder" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()
