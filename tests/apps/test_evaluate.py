"""`mdgen evaluate` and `mdgen compare` on the command line, on toy trajectories; and how they go wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from mdgen.apps.main import main
from mdgen.apps.runs.molecule_pairs import configs_of_pairs
from mdgen.apps.runs.training_runs import training_runs
from mdgen.data.store import TrajectoryStore
from tests.evaluation.alanine import molecule, trajectory

pytestmark = pytest.mark.usefixtures("few_plots")

FEW = ["metrics.settings.resamples=10", "metrics.settings.n_states=10", "metrics.settings.permutations=99"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A topology, dynamics and generated trajectories as npy files."""
    path = tmp_path_factory.mktemp("evaluate")
    mdtraj.Trajectory(trajectory(1, 0), molecule().topology).save_pdb(str(path / "top.pdb"))
    for name, seed in (("md", 1), ("generated", 2), ("second", 3), ("third", 4)):
        for index in range(4):
            np.save(path / f"{name}-{index}.npy", trajectory(400, 1000 * seed + index))
    return path


def sides(folder: Path, generated: str = "generated-*.npy", reference: str = "md-*.npy") -> list[str]:
    """The keys that name both sides."""
    found = []
    for side, files in (("reference", reference), ("generated", generated)):
        found += [f"{side}.trajectories={folder}/{files}", f"{side}.topology={folder}/top.pdb"]
        found.append(f"{side}.frame_spacing_ps=1")
    return found


def test_seeds_and_losses_are_in_the_result_and_compare_takes_them(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "training/log"
    log.mkdir(parents=True)
    (log / "metrics.csv").write_text("epoch,step,train/loss\n0,1,2.0\n1,2,1.0\n")
    seeds = f"seeds=[{folder}/second-*.npy,{folder}/third-*.npy]"
    more = [seeds, f"training_runs={tmp_path}/training", *FEW]
    assert main(["evaluate", *sides(folder), f"output={tmp_path}/a", *more]) == 0
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    document = json.loads((tmp_path / "a/metrics.json").read_text())
    assert document["rows"]["seeds"]["label"] == "generated, 3 seeds"
    assert (tmp_path / "a/plots/loss_training.svg").is_file()
    assert "<h2>Training</h2>" in (tmp_path / "a/report.html").read_text()
    capsys.readouterr()
    assert main(["compare", f"{tmp_path}/a", f"{tmp_path}/b"]) == 0
    table = capsys.readouterr().err
    assert "Torsion JSD, all" in table
    assert "differs" not in table


def test_interpolations_are_measured_and_not_judged(folder: Path, tmp_path: Path) -> None:
    """Their ends were given, so that they are not distributed as dynamics are."""
    made = tmp_path / "made"
    with TrajectoryStore.create(made / "trajectories", molecule(), 1.0, 4) as store:
        store.append(np.stack([np.load(folder / f"generated-{index}.npy") for index in range(4)]))
    (made / "metrics.json").write_text(json.dumps({"task": "interpolate"}))
    reference = sides(folder)[:3]
    assert (
        main(["evaluate", *reference, f"generated.trajectories={made}/trajectories", f"output={tmp_path}/out", *FEW])
        == 0
    )
    found = json.loads((tmp_path / "out/metrics.json").read_text())
    assert found["verdict"] == "flagged"
    assert found["criteria"] == []
    assert "no criterion judges them" in found["flags"][0]
    assert found["rows"]["generated"]["metrics"]


def test_a_generation_leads_to_the_trainings_behind_it(tmp_path: Path) -> None:
    for part in ("encoder", "decoder"):
        (tmp_path / part / "log").mkdir(parents=True)
        (tmp_path / part / "log/metrics.csv").write_text("step,train/loss\n1,2.0\n")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        parts = {"encoder": "../encoder/encoder.safetensors", "propagator": "../none/propagator.safetensors"}
        (tmp_path / name / "simulator.json").write_text(json.dumps(parts))
    (tmp_path / "two/simulator.json").write_text(json.dumps({"encoder": "../decoder/encoder.safetensors"}))
    config = {"generated": {"trajectories": str(tmp_path / "one/trajectories")}, "seeds": [str(tmp_path / "two")]}
    found = training_runs(config)
    assert {name: run.name for name, run in found.items()} == {"encoder": "encoder", "encoder 2": "decoder"}
    assert training_runs({"generated": {"trajectories": "some.xtc"}}) == {}


def test_energies_of_a_real_force_field_term_by_term(folder: Path, tmp_path: Path, said: Callable[..., str]) -> None:
    """The toy's bonds shake by 0.001 nm: a stretched C=O costs some kJ/mol of bond energy, and only there."""
    for index in range(4):
        frames = np.load(folder / f"generated-{index}.npy")
        bond = frames[:, 11] - frames[:, 10]
        frames[:, 11] += 0.01 * bond / np.linalg.norm(bond, axis=-1, keepdims=True)
        np.save(tmp_path / f"longer-{index}.npy", frames)
    system = ["system=pdb", f"system.pdb={folder}/top.pdb", "system.solvent=vacuum"]
    found = {}
    for name, generated in (("clean", f"{folder}/generated-*.npy"), ("longer", f"{tmp_path}/longer-*.npy")):
        named = [*sides(folder)[:3], f"generated.trajectories={generated}", *sides(folder)[4:]]
        assert main(["evaluate", *named, *system, f"output={tmp_path}/{name}", *FEW]) == 0
        found[name] = json.loads((tmp_path / name / "metrics.json").read_text())["rows"]["generated"]["metrics"]
    terms = {metric.partition("/")[2] for metric in found["clean"] if metric.startswith("energy_jsd/")}
    assert terms >= {"total", "bonds", "angles", "torsions", "lennard_jones", "coulomb"}
    more = {term: found["longer"][f"energy_kJ_mol/{term}"]["value"] for term in terms}
    less = {term: found["clean"][f"energy_kJ_mol/{term}"]["value"] for term in terms}
    assert more["bonds"] > less["bonds"] + 10
    assert more["torsions"] == pytest.approx(less["torsions"], abs=0.5)
    assert found["longer"]["energy_jsd/bonds"]["low"] > found["clean"]["energy_jsd/bonds"]["high"]
    assert "Energy JSD, lennard_jones" in (tmp_path / "clean/report.html").read_text()
    other = ["system=peptide", "system.sequence=AA", "system.solvent=vacuum"]
    assert "32 atoms where 22" in said("evaluate", *sides(folder), *other, f"output={tmp_path}/other")


def test_a_force_field_with_its_atoms_in_another_order_is_refused(
    folder: Path, tmp_path: Path, said: Callable[..., str]
) -> None:
    lines = (folder / "top.pdb").read_text().splitlines()
    first, second = (next(i for i, line in enumerate(lines) if line[12:20].split() == [a, "ALA"]) for a in ("HA", "C"))
    lines[first], lines[second] = lines[second], lines[first]
    (tmp_path / "swapped.pdb").write_text("\n".join(lines) + "\n")
    system = ["system=pdb", f"system.pdb={tmp_path}/swapped.pdb", "system.solvent=vacuum"]
    sentence = said("evaluate", *sides(folder), *system, f"output={tmp_path}/x")
    assert "ALA2" in sentence
    assert not (tmp_path / "x").exists()


def test_bad_inputs_are_one_sentence_each(folder: Path, tmp_path: Path, said: Callable[..., str]) -> None:
    def evaluated(generated: str, *more: str) -> str:
        named = [*sides(folder)[:3], f"generated.trajectories={generated}", *sides(folder)[4:]]
        return said("evaluate", *named, f"output={tmp_path}/out", *FEW, *more)

    frames = np.load(folder / "generated-0.npy")
    broken = frames.copy()
    broken[17, 3, 1] = np.nan
    for name, array in (("nan", broken), ("none", frames[:0]), ("single", frames[:1]), ("less", frames[:, :21])):
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "empty.xtc").touch()
    assert "frame 17" in evaluated(f"{tmp_path}/nan.npy")
    assert "no frames" in evaluated(f"{tmp_path}/none.npy")
    assert "at least two" in evaluated(f"{tmp_path}/single.npy")
    assert "empty.xtc is empty" in evaluated(f"{tmp_path}/empty.xtc")
    assert "21 atoms and the topology 22" in evaluated(f"{tmp_path}/less.npy")
    mdtraj.Trajectory(frames[:1], molecule().topology).atom_slice(range(21)).save_pdb(str(tmp_path / "less.pdb"))
    sentence = evaluated(f"{tmp_path}/less.npy", f"generated.topology={tmp_path}/less.pdb")
    assert "part at atom 22" in sentence
    topology = molecule().topology.copy()
    topology.atom(9).name = "HX"
    mdtraj.Trajectory(frames[:1], topology).save_pdb(str(tmp_path / "renamed.pdb"))
    sentence = evaluated(f"{folder}/generated-*.npy", f"generated.topology={tmp_path}/renamed.pdb")
    assert "ALA2-HX" in sentence
    kelvin = ["reference.temperature_K=300", "generated.temperature_K=350"]
    sentence = evaluated(f"{folder}/generated-*.npy", *kelvin)
    assert "the reference is at 300 K and the generated set at 350 K" in sentence
    assert "no common multiple" in evaluated(f"{folder}/generated-*.npy", "generated.frame_spacing_ps=3.14159")
    assert "resamples=0" in evaluated(f"{folder}/generated-*.npy", "metrics.settings.resamples=0")
    assert "seeds=" in evaluated(f"{folder}/generated-*.npy", f"seeds={folder}")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_molecules_is_judged_though_one_of_them_is_broken(
    folder: Path, tmp_path: Path, said: Callable[..., str]
) -> None:
    for name in ("one", "bad"):
        (tmp_path / "pairs" / name).mkdir(parents=True)
        (tmp_path / "pairs" / name / "topology.pdb").write_bytes((folder / "top.pdb").read_bytes())
        for side, files in (("reference", "md"), ("generated", "generated")):
            for index in range(2):
                frames = np.load(folder / f"{files}-{index}.npy")
                frames[5] += np.nan if name == "bad" else 0.0
                np.save(tmp_path / "pairs" / name / f"{side}-{index}.npy", frames)
    spacing = ["reference.frame_spacing_ps=1", "generated.frame_spacing_ps=1"]
    command = ["evaluate", f"pairs={tmp_path}/pairs", f"output={tmp_path}/out", *spacing, *FEW]
    sentence = said(*command)
    assert "1 of 2 molecules could not be judged (bad)" in sentence
    assert "frame 5" in sentence
    assert json.loads((tmp_path / "out/aggregate.json").read_text())["molecules"] == ["one"]
    for index in range(2):
        for side, files in (("reference", "md"), ("generated", "generated")):
            np.save(tmp_path / f"pairs/bad/{side}-{index}.npy", np.load(folder / f"{files}-{index}.npy"))
    assert main(command) == 0
    assert (tmp_path / "out/DONE").is_file()
    assert "generated" in (tmp_path / "out/aggregate.md").read_text()
    assert len(json.loads((tmp_path / "out/aggregate.json").read_text())["molecules"]) == 2


def test_a_structure_beside_trajectories_of_its_name_is_not_read_as_one(tmp_path: Path) -> None:
    pair = tmp_path / "pairs/one"
    pair.mkdir(parents=True)
    for name in ("topology.pdb", "reference.pdb", "reference.npy", "generated.npy"):
        (pair / name).touch()
    sides = {side: {"topology": None} for side in ("reference", "generated", "replicate", "training")}
    (found,) = configs_of_pairs({"pairs": str(pair.parent), "output": "out", **sides})
    assert found["reference"] == {"topology": str(pair / "topology.pdb"), "trajectories": [str(pair / "reference.npy")]}
    assert found["replicate"]["trajectories"] is None
