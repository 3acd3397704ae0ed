import json
import pickle
from itertools import pairwise

import mdtraj
import pytest
import torch
from safetensors.torch import save
from torch import nn

from mdgen.errors import MdgenError
from mdgen.interfaces import LatentSpace
from mdgen.models.checkpoint import describe, load_model, read_metadata, save_model
from mdgen.models.encoders.srv import SRV
from mdgen.models.encoders.tica import TICA
from mdgen.models.propagators.markov_state_model import MarkovStateModel
from mdgen.models.propagators.mdn import MDN
from mdgen.molecule.features import TorsionDistanceFeatures
from mdgen.molecule.topology import Molecule

LATENT = LatentSpace("slow_modes", 1, 2, 10.0, origin="abc")
PARTS = {
    "srv": lambda: SRV(3, lag_ps=2.0, n_modes=2, hidden=[7, 5], batch_norm=True),
    "tica": lambda: TICA(3, lag_ps=2.0, n_modes=2),
    "mdn": lambda: MDN(LATENT, n_components=3, hidden=[8], padding=0.1, reject_outside=True),
    "markov_state_model": lambda: MarkovStateModel(LATENT, n_states=4),
}


@pytest.mark.parametrize("name", PARTS)
def test_round_trip_is_exact(name, tmp_path):
    part = PARTS[name]()
    for buffer in part.buffers():
        if buffer.is_floating_point():
            buffer.normal_(generator=torch.Generator().manual_seed(0))
    save_model(tmp_path / "part.safetensors", part, {"seed": 3, "data": "six runs"})
    again = load_model(tmp_path / "part.safetensors")
    assert type(again) is type(part)
    assert again.arguments == part.arguments
    assert again.latent == part.latent
    for (key, value), (other_key, other) in zip(part.state_dict().items(), again.state_dict().items(), strict=True):
        assert key == other_key
        assert torch.equal(value, other)
        assert value.dtype == other.dtype
    assert not again.training
    assert read_metadata(tmp_path / "part.safetensors") == {"seed": 3, "data": "six runs"}


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
    save_model(path, PARTS["tica"]())
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(MdgenError, match="damaged"):
        load_model(path)
    path.write_bytes(whole.replace(b'\\"n_modes\\": 2', b'\\"n_modes\\": 3'))
    with pytest.raises(MdgenError, match="damaged"):
        load_model(path)


def with_header(path, header):
    """A file of `safetensors` whose header of ours is `header`."""
    path.write_bytes(save({"mean": torch.zeros(3)}, metadata={"mdgen": header}))


@pytest.mark.parametrize("header", ["[1, 2]", "3", '"text"', "null", "[" * 100_000, '{"format": 1, "metadata": [3]}'])
def test_a_header_that_is_no_table_is_refused(header, tmp_path):
    with_header(tmp_path / "part.safetensors", header)
    for read in (load_model, read_metadata):
        with pytest.raises(MdgenError, match="not a checkpoint of mdgen"):
            read(tmp_path / "part.safetensors")


@pytest.mark.parametrize(
    "recipe",
    [
        {"class": ["TICA"], "arguments": {}},
        {"class": {"class": "TICA"}, "arguments": {}},
        {"class": "TICA", "arguments": 3},
        {"class": "TICA", "arguments": {"features": 3, "lag_ps": "long", "n_modes": 2}},
        {"class": "TICA", "arguments": {"features": 3, "lag_ps": 1.0, "n_modes": float("inf")}},
        {"class": "TICA", "arguments": {"features": 3, "lag_ps": 1.0, "n_modes": "two"}},
        {"class": "TICA", "arguments": {"features": -3, "lag_ps": 1.0, "n_modes": -4}},
        {"class": "SRV", "arguments": {"features": 10**30, "lag_ps": 1.0}},
        {"class": "SRV", "arguments": {"features": "abc", "lag_ps": 1.0}},
        {"class": "Molecule", "arguments": "no molecule"},
        {"class": "Molecule", "arguments": {"atoms": 3}},
        {"class": "MDN", "arguments": {"latent": "psi"}},
        {"class": "MDN", "arguments": {"latent": describe(LATENT), "hidden": []}},
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


def test_no_class_outside_the_list_is_built(tmp_path):
    path = tmp_path / "part.safetensors"
    save_model(path, PARTS["tica"]())
    path.write_bytes(path.read_bytes().replace(b'\\"TICA\\"', b'\\"EVIL\\"'))
    with pytest.raises(MdgenError, match="'EVIL'"):
        load_model(path)
    with pytest.raises(MdgenError, match="a Linear cannot be stored"):
        save_model(tmp_path / "linear.safetensors", nn.Linear(2, 2))
    assert not (tmp_path / "linear.safetensors").exists()


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "part.safetensors"
    save_model(path, PARTS["tica"](), {"version": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MdgenError, match="disk is full"):
        save_model(path, PARTS["tica"](), {"version": 2})
    assert read_metadata(path) == {"version": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["part.safetensors"]


def test_an_encoder_of_a_molecule_brings_its_features_along(tmp_path):
    topology = mdtraj.Topology()
    residue = topology.add_residue("LIG", topology.add_chain())
    atoms = [topology.add_atom(f"C{i}", mdtraj.element.carbon, residue) for i in range(5)]
    for first, second in pairwise(atoms):
        topology.add_bond(first, second)
    molecule = Molecule.from_mdtraj(topology)
    encoder = SRV(TorsionDistanceFeatures(molecule), lag_ps=2.0, n_modes=2)
    save_model(tmp_path / "encoder.safetensors", encoder)
    again = load_model(tmp_path / "encoder.safetensors")
    assert again.latent == encoder.latent
    assert again.latent.molecule == molecule.fingerprint
    positions = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.encode(positions), encoder.encode(positions))
