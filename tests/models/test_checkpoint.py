import json
import pickle

import pytest
import torch
from safetensors.torch import save
from torch import nn

from mdgen.documents import seal, unsealed_field
from mdgen.errors import MdgenError
from mdgen.interfaces import LatentSpace
from mdgen.models.checkpoint import describe, load_model, save_model
from mdgen.models.encoders.srv import SRV
from mdgen.models.encoders.tica import TICA
from mdgen.models.propagators.mdn import MDN
from mdgen.molecule.topology import Molecule
from mdgen.registry import name_of

LATENT = LatentSpace("slow_modes", 1, 2, origin="abc")
TICA_NAME, SRV_NAME, MDN_NAME, MOLECULE_NAME = map(name_of, (TICA, SRV, MDN, Molecule))


def small():
    return TICA(3, lag_ps=2.0, n_modes=2)


def test_types_of_buffers_and_arguments_are_kept(tmp_path):
    """What the contract suites leave out: options that are not the defaults, and weights that no training makes."""
    for part in (SRV(3, 2.0, n_modes=2, hidden=[7, 5], batch_norm=True), MDN(LATENT, 1.0, 3, [8], padding=0.1)):
        for buffer in part.buffers():
            if buffer.is_floating_point():
                buffer.normal_(generator=torch.Generator().manual_seed(0))
        save_model(tmp_path / "part.safetensors", part, {"seed": 3, "data": "six runs"})
        again = load_model(tmp_path / "part.safetensors")
        assert describe(again) == describe(part)
        assert describe(part)["class"] == name_of(type(part))
        for (key, value), (other_key, other) in zip(part.state_dict().items(), again.state_dict().items(), strict=True):
            assert (key, value.dtype) == (other_key, other.dtype)
            assert torch.equal(value, other)
        assert again.metadata == {"seed": 3, "data": "six runs"}


def test_what_is_no_checkpoint_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(MdgenError, match="does not exist"):
        load_model(tmp_path / "absent.safetensors")
    trap = tmp_path / "trap.safetensors"
    trap.write_bytes(pickle.dumps({"weights": [1, 2]}))
    with pytest.raises(MdgenError, match="not a checkpoint of mdgen"):
        load_model(trap)
    torch.save({"a": torch.zeros(2)}, trap)
    with pytest.raises(MdgenError, match="not a checkpoint of mdgen"):
        load_model(trap)
    trap.write_bytes(b"")
    with pytest.raises(MdgenError, match="not a checkpoint of mdgen"):
        load_model(trap)


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "part.safetensors"
    save_model(path, small())
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(MdgenError, match="damaged"):
        load_model(path)
    path.write_bytes(whole.replace(b'\\"n_modes\\": 2', b'\\"n_modes\\": 3'))
    with pytest.raises(MdgenError, match="damaged"):
        load_model(path)


def with_header(path, header):
    """A file of `safetensors` whose header of ours is `header`."""
    path.write_bytes(seal(save({"mean": torch.zeros(3)}, {"mdgen": header, **unsealed_field()})))


@pytest.mark.parametrize("header", ["[1, 2]", "3", '"text"', "null", "[" * 100_000, '{"format": 1, "metadata": [3]}'])
def test_a_header_that_is_no_table_is_refused(header, tmp_path):
    with_header(tmp_path / "part.safetensors", header)
    with pytest.raises(MdgenError, match="not a checkpoint of mdgen"):
        load_model(tmp_path / "part.safetensors")


@pytest.mark.parametrize(
    "recipe",
    [
        {"class": [TICA_NAME], "arguments": {}},
        {"class": {"class": TICA_NAME}, "arguments": {}},
        {"class": TICA_NAME, "arguments": 3},
        {"class": TICA_NAME, "arguments": {"features": 3, "lag_ps": "long", "n_modes": 2}},
        {"class": TICA_NAME, "arguments": {"features": 3, "lag_ps": 1.0, "n_modes": float("inf")}},
        {"class": TICA_NAME, "arguments": {"features": 3, "lag_ps": 1.0, "n_modes": "two"}},
        {"class": TICA_NAME, "arguments": {"features": -3, "lag_ps": 1.0, "n_modes": -4}},
        {"class": SRV_NAME, "arguments": {"features": 10**30, "lag_ps": 1.0}},
        {"class": SRV_NAME, "arguments": {"features": "abc", "lag_ps": 1.0}},
        {"class": MOLECULE_NAME, "arguments": "no molecule"},
        {"class": MOLECULE_NAME, "arguments": {"atoms": 3}},
        {"class": MDN_NAME, "arguments": {"latent": "psi"}},
        {"class": MDN_NAME, "arguments": {"latent": describe(LATENT), "hidden": []}},
        [1, 2],
        "text",
        None,
    ],
)
def test_a_recipe_of_wrong_types_is_refused(recipe, tmp_path):
    with_header(tmp_path / "part.safetensors", json.dumps({"format": 1, "mdgen": "x", "recipe": recipe}))
    with pytest.raises(MdgenError) as error:
        load_model(tmp_path / "part.safetensors")
    assert "\n" not in str(error.value)


def renamed(path, name):
    save_model(path, small())
    header = {"format": 1, "mdgen": "x", "recipe": {**describe(small()), "class": name}}
    with_header(path, json.dumps(header))
    return path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("EVIL", "not registered"),
        ("os.system", "not registered"),
        ("mdgen.models.fingerprint.fingerprint", "not registered"),
        ("mdgen.no_such_room.Part", "not registered"),
        ("mdgen.apps.runs.run_logger.csv", "no part of a model"),
        ("mdgen.training.settings.TrainingSettings", "no part of a model"),
    ],
)
def test_only_registered_parts_of_models_are_built(name, reason, tmp_path):
    with pytest.raises(MdgenError, match=reason):
        load_model(renamed(tmp_path / "part.safetensors", name))


def test_what_is_not_registered_is_not_stored(tmp_path):
    with pytest.raises(MdgenError, match=r"Linear cannot be stored .*registry\.register"):
        save_model(tmp_path / "linear.safetensors", nn.Linear(2, 2))
    assert not (tmp_path / "linear.safetensors").exists()


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "part.safetensors"
    save_model(path, small(), {"version": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MdgenError, match="disk is full"):
        save_model(path, small(), {"version": 2})
    assert load_model(path).metadata == {"version": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["part.safetensors"]
