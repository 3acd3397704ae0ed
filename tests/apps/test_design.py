"""Residue design from the command line and in Python: trained, designed, written, and refused in one sentence."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import mdtraj
import pytest

import mdgen
from mdgen.apps.config.composition import compose, plain
from mdgen.apps.generate import IGNORED
from mdgen.apps.main import main
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from tests.models.structures import alanine_dipeptide, frames

MOLECULE = alanine_dipeptide()
MODEL = ["width=16", "heads=2", "blocks=1", "window=8", "frame_spacing_ps=[10.0,10.0]", "n_evaluations=4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trained runs, one of which designs, beside the files of a user."""
    folder = tmp_path_factory.mktemp("design")
    positions = frames(200).numpy()
    with TrajectoryStore.create(folder / "md", MOLECULE, 5.0, 2, {"temperature_K": 400.0}) as store:
        store.append(positions.reshape(2, 100, 22, 3))
    mdtraj.Trajectory(positions[:1], MOLECULE.topology).save_pdb(str(folder / "my.pdb"))
    mdtraj.Trajectory(positions[:3], MOLECULE.topology).save_dcd(str(folder / "short.dcd"))
    parts = ["encoder=se3_tokens", "propagator=interpolant", "decoder=se3_tokens", "propagator.training.max_epochs=1"]
    parts += [f"propagator.model.{each}" for each in MODEL] + ["data=molecules", "data.frames=8", "data.hop_ps=50"]
    parts += ["data.window_spacing_ps=10.0", "data.split_by=trajectory", "data.validation_share=0", "data.test_share=0"]
    parts.append(f"data.molecules=[{{trajectories: {folder}/md, temperature_K: 400.0}}]")
    for name, tasks in (("model", "[design,inpaint]"), ("other", "[inpaint]")):
        assert main(["train", *parts, f"propagator.model.tasks={tasks}", f"output={folder}/{name}"]) == 0
    return folder


DESIGN = ["pdb=my.pdb", "task=design", "known=md", "tokens=[0,2]"]


def test_only_keys_that_were_changed_are_said_to_be_ignored() -> None:
    config = plain(compose("generate", []))
    assert {key: config[key] for key in IGNORED} == IGNORED


@pytest.mark.parametrize("by", ["flow", "rejection"])
def test_designs_are_written(
    folder: Path, by: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    output = folder / "made" / by
    command = ["generate", "model=model", *DESIGN, "n_designs=30", "n_trajectories=3", f"design_by={by}"]
    assert main([*command, f"output={output}"]) == 0
    assert "n_trajectories=3 says nothing to task=design, which makes designs" in capsys.readouterr().err
    with (output / "designs.csv").open() as file:
        rows = list(csv.DictReader(file))
    drawn = [int(row["drawn"]) for row in rows]
    assert sum(drawn) == 30
    assert drawn == sorted(drawn, reverse=True)
    assert all(len(row["sequence"]) == 1 and abs(float(row["score"])) < 5 for row in rows)
    metrics = json.loads((output / "metrics.json").read_text())
    right = sum(int(row["drawn"]) for row in rows if row["sequence"] == "A")
    assert metrics["recovery"] == pytest.approx(right / 30)
    assert metrics["recovery_of_frequencies"] == pytest.approx(1.5 / 11)
    assert metrics["recovery_of_most_frequent"] == 1.0
    simulator = mdgen.load("model", pdb="my.pdb")
    again = simulator.design([mdgen.open("md")[0], mdgen.open("md")[1]], [0, 2], n_designs=30, by=by)
    assert again.sequences.count("A") == right
    assert len(simulator.design(mdgen.open("md")[0], [0, 2])) == 6  # 50 frames of 10 ps make six windows of 8
    with pytest.raises(MdgenError, match="0 designs were asked for"):
        simulator.design(mdgen.open("md")[0], [0, 2], n_designs=0)
    capsys.readouterr()
    assert len(simulator.design(mdgen.open("md")[0].xyz, [0, 2])) == 12
    assert "the known frames tell no times, and are taken as 10 ps apart" in capsys.readouterr().err


MISTAKES = {
    "model=model tokens=[0,3]": "there are tokens 0 to 2; there is no 3",
    "model=model tokens=[0,1,2]": "all of the 3 residues are known",
    "model=model tokens=[]": "none of the 3 residues are known",
    "model=model tokens=[0,1]": "token 2 is no amino acid but a cap",
    "model=model n_designs=0": "n_designs=0: expected at least 1 and at most 1000000",
    "model=model n_designs=100000000000000000000": "n_designs=100000000000000000000: expected at least 1",
    "model=model frame_spacing_ps=15": "frame_spacing_ps=15 was asked for",
    "model=model known=short.dcd": "does not say how far apart its frames are",
    "model=model design_by=guess": "design_by",
    "model=model factor=2": "factor=2 says nothing to task=design",
    "model=model export=xtc": "export says nothing to task=design, which makes no trajectories",
    "model=other": "not trained to design residues",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_sentence(
    folder: Path, words: str, monkeypatch: pytest.MonkeyPatch, said: Callable[..., str]
) -> None:
    monkeypatch.chdir(folder)
    given = dict(each.split("=") for each in [*DESIGN, *words.split()])
    assert MISTAKES[words] in said("generate", *(f"{key}={value}" for key, value in given.items()), "output=made/wrong")
    assert not (folder / "made/wrong").exists()
