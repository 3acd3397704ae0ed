"""Encoder, propagator, decoder, potential and integrator of a user on the command line, without a change in mdgen."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import mdgen
from mdgen import registry
from mdgen.apps.main import main
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.registry import load_plugins
from tests.isolated_registry import isolated

PLUGINS = Path(__file__).parents[1] / "plugins"
PEPTIDE = ["system.sequence=A", "system.solvent=vacuum", "system.constraints=none", "system.hydrogen_mass_amu=null"]
SIMULATION = [*PEPTIDE, "engine=torch", "n_replicas=2", "equilibration_ns=0", "save_ps=0.005", "threads=1"]


@pytest.fixture(autouse=True)
def toy_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(PLUGINS))
    for known in (sys.modules, registry._PARTS):  # other tests of the same process import the parts too
        for name in [each for each in known if each.partition(".")[0] == "toy_parts"]:
            monkeypatch.delitem(known, name)
    with isolated():
        yield


def frames(run: Path) -> np.ndarray:
    return np.array(TrajectoryStore.open(run / "trajectories").positions(0))


def test_own_parts_are_simulated_trained_composed_and_generated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins = "plugins=[toy_parts]"
    md = ["simulate", plugins, *SIMULATION, "integrator=toy", "potential=toy", "length_ns=0.0002"]
    assert main([*md, f"output={tmp_path}/md"]) == 0
    stiff = [*md, "potential.k=1000", f"output={tmp_path}/stiff"]  # a parameter that conf/potential/toy.yaml leaves out
    assert main(stiff) == 0
    assert not np.array_equal(frames(tmp_path / "md"), frames(tmp_path / "stiff"))
    data = f"data.trajectories={tmp_path}/md"
    encoder = f"encoder_run={tmp_path}/encoder"
    assert main(["train", plugins, "encoder=toy", data, f"output={tmp_path}/encoder"]) == 0
    for part in ("propagator", "decoder"):
        assert main(["train", plugins, f"{part}=toy", encoder, f"output={tmp_path}/{part}"]) == 0
    runs = [f"{part}_run={tmp_path}/{part}" for part in ("encoder", "propagator", "decoder")]
    generated = ["generate", *runs, "length_ns=0.0001", "n_trajectories=3", f"output={tmp_path}/generated"]
    assert main([*generated, plugins]) == 0
    assert frames(tmp_path / "generated").shape == (20, 22, 3)
    for run in ("md", "encoder", "generated"):
        assert "plugins:\n- toy_parts\n" in (tmp_path / run / "config.yaml").read_text()
        assert json.loads((tmp_path / run / "provenance.json").read_text())[0]["plugins"] == ["toy_parts"]


def test_a_part_of_a_plugin_needs_the_plugin_to_be_named(tmp_path: Path) -> None:
    with isolated():
        load_plugins(["toy_parts"])
        encoder = sys.modules["toy_parts.toy_encoder"].ChainShape()
        from mdgen.models.checkpoint import save_model

        for part in ("encoder", "propagator", "decoder"):
            save_model(tmp_path / f"{part}.safetensors", encoder)
    with pytest.raises(MdgenError, match=r"plugins=\[toy_parts.toy_encoder\], or import it first"):
        mdgen.load(tmp_path)


def test_configs_of_ones_own_are_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "configs/encoder").mkdir(parents=True)
    config = tmp_path / "configs/encoder/mine.yaml"
    config.write_text("model:\n  _target_: toy_parts.toy_encoder.ChainShape\ntraining: {}\n")
    command = ["train", "--config-dir", str(tmp_path / "configs"), "encoder=mine", "--cfg"]
    assert main(command) == 2
    assert "'toy_parts.toy_encoder.ChainShape' is not registered with mdgen" in capsys.readouterr().err
    assert main([*command, "plugins=toy_parts"]) == 0
    assert "_target_: toy_parts.toy_encoder.ChainShape" in capsys.readouterr().out
    config.write_text("model:\n  _target_: os.system\n  command: touch hacked\n")
    assert main(command) == 2
    assert "'os.system' is not registered" in capsys.readouterr().err


def test_an_experiment_of_ones_own_calls_nothing_through_hydra(tmp_path: Path) -> None:
    folder, made = tmp_path / "configs/experiment", tmp_path / "made"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "# @package _global_\n#   mdgen simulate experiment=mine\n"
        f"hydra:\n  callbacks:\n    mine: {{_target_: os.mkdir, path: '{made}'}}\n"
        f"  launcher: {{_target_: os.mkdir, path: '{made}'}}\n"
    )
    command = ["simulate", "--config-dir", str(tmp_path / "configs"), "experiment=mine", "n_replicas=0"]
    assert main([*command, "--multirun", "seed=0,1", f"output={tmp_path / 'sweep'}"]) == 2  # both runs are refused
    assert main([*command, f"output={tmp_path / 'run'}"]) == 2
    assert not made.exists()


def test_a_module_in_the_current_folder_and_an_entry_point_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(PLUGINS / "toy_parts", tmp_path / "toy_parts")
    command = [sys.executable, "-c", "import sys; from mdgen.apps.main import main; sys.exit(main(sys.argv[1:]))"]
    show = ["train", "encoder=toy", "--cfg"]
    environment = {**os.environ, "PYTHONPATH": str(Path(mdgen.__file__).parents[1]), "PYTHONSAFEPATH": "1"}
    named = subprocess.run([*command, *show, "plugins=[toy_parts]"], cwd=tmp_path, env=environment, capture_output=True)
    assert named.returncode == 0, named.stderr
    site = tmp_path / "site"
    shutil.move(tmp_path / "toy_parts", site / "toy_parts")
    (site / "toy_parts-1.0.dist-info").mkdir()
    (site / "toy_parts-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: toy_parts\nVersion: 1.0\n")
    (site / "toy_parts-1.0.dist-info/entry_points.txt").write_text("[mdgen.plugins]\ntoy = toy_parts\n")
    monkeypatch.syspath_prepend(str(site))
    assert main(show) == 0
    assert named.stdout.decode() == capsys.readouterr().out + "plugins:\n- toy_parts\n"
    assert sys.modules["toy_parts"].__file__ == str(site / "toy_parts/__init__.py")


def test_a_folder_beside_ones_configs_hides_no_key_of_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output/config.yaml").write_text("verb: simulate\n")
    folder = ["--config-dir", str(tmp_path), "--cfg"]
    assert main(["simulate", *folder, "output=elsewhere"]) == 0
    assert "output: elsewhere\n" in capsys.readouterr().out
    assert main(["simulate", *folder, "--multirun", "seed=0,1", f"output={tmp_path}/sweep"]) == 0
    assert f"{tmp_path}/sweep/seed_1: seed=1\n" in capsys.readouterr().out
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder/mine.yaml").write_text("defaults:\n  - /width@model: wide\nmodel: {}\n")
    (tmp_path / "width").mkdir()
    for name in ("wide", "narrow"):  # a group of one's own, named by a defaults list
        (tmp_path / f"width/{name}.yaml").write_text(f"_target_: toy_parts.toy_encoder.ChainShape  # {name}\n")
    command = ["train", *folder, "plugins=toy_parts", "encoder=mine"]
    assert main([*command, "width@encoder.model=narrow"]) == 0
