"""SE(3) tokens from the command line: three parts in one run, four tasks on a user's own files, and mistakes."""

import json
from collections.abc import Callable
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import mdgen
from mdgen.apps.config.composition import compose, plain
from mdgen.apps.demo import with_data, write_known
from mdgen.apps.main import main
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.generation import load as loading
from mdgen.generation.relaxation import Relaxation
from mdgen.md.systems.build import build_system
from tests.models.structures import alanine_dipeptide, frames
from tests.molecule.conftest import ALANINE, CAP_AFTER, CAP_BEFORE, peptide

pytestmark = pytest.mark.usefixtures("few_plots", "steps_in_this_process")

WINDOW, SPACING_PS = 8, 5.0
MOLECULE = alanine_dipeptide()
NETWORK = ["propagator.model.width=16", "propagator.model.heads=2", "propagator.model.blocks=1"]
NETWORK += [f"propagator.model.window={WINDOW}", "propagator.model.frame_spacing_ps=[5.0,10.0]"]
NETWORK += ["propagator.training.max_epochs=1", "propagator.model.n_evaluations=2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run beside files of a user's own."""
    folder = tmp_path_factory.mktemp("tokens")
    positions = frames(400).numpy()
    with TrajectoryStore.create(folder / "md", MOLECULE, SPACING_PS, 4, {"temperature_K": 400.0}) as store:
        store.append(positions.reshape(4, 100, 22, 3))
    own = mdtraj.Trajectory(positions[:4], MOLECULE.topology, time=10.0 * np.arange(4))
    own[0].save_pdb(str(folder / "start.pdb"))
    own[1].save_pdb(str(folder / "end.pdb"))
    own.save_xtc(str(folder / "coarse.xtc"))
    own[:3].atom_slice(range(12)).save_pdb(str(folder / "gap.pdb"))
    text = (folder / "start.pdb").read_text()
    (folder / "unknown.pdb").write_text(text.replace("ALA", "XYZ"))
    other = peptide(CAP_BEFORE, ALANINE, ALANINE, CAP_AFTER)
    scattered = np.random.default_rng(0).normal(size=(1, other.n_atoms, 3))
    mdtraj.Trajectory(scattered, other.topology).save_pdb(str(folder / "other.pdb"))
    mdtraj.Trajectory(positions[:4], MOLECULE.topology, time=[0.0, 10.0, 30.0, 20.0]).save_xtc(str(folder / "late.xtc"))
    parts = ["encoder=se3_tokens", "propagator=interpolant", "decoder=se3_tokens"]
    assert main(["train", *parts, *NETWORK, f"data.trajectories={folder}/md", f"output={folder}/model"]) == 0
    return folder


def test_one_command_trains_a_model_of_three_parts(folder: Path) -> None:
    for part in loading.PARTS:
        assert (folder / "model" / f"{part}.safetensors").is_file()
    metrics = json.loads((folder / "model/metrics.json").read_text())
    assert metrics["part"] == "propagator"
    simulator = mdgen.load(folder / "model")
    assert simulator.molecule == MOLECULE
    assert simulator.temperature_K == 400.0
    assert simulator.propagator.frame_spacing_ps == (5.0, 10.0)


def test_a_structure_gives_molecule_and_start(folder: Path) -> None:
    simulator = mdgen.load(folder / "model", pdb=folder / "start.pdb")
    (made,) = simulator.rollout(n_frames=2 * WINDOW, seed=1, frame_spacing_ps=10.0)
    assert distance(made[0], mdtraj.load(str(folder / "start.pdb"))) < 1e-4
    assert made.timestep == pytest.approx(10.0)
    assert np.isfinite(made.xyz).all()
    with pytest.raises(MdgenError, match=r"keeps no frames to start from; give a structure \(start=FILE, or pdb=FILE"):
        mdgen.load(folder / "model").rollout(n_frames=3)


def distance(one: mdtraj.Trajectory, other: mdtraj.Trajectory) -> float:
    """Largest difference of a distance between two atoms, in nm."""
    pairs = one.topology.select_pairs("all", "all")
    return float(np.abs(mdtraj.compute_distances(one, pairs) - mdtraj.compute_distances(other, pairs)).max())


TASKS = {
    "rollout": ["pdb=start.pdb", "length_ns=0.1", "n_trajectories=2"],
    "interpolate": ["start=start.pdb", "end=end.pdb", "length_ns=0.03", "n_trajectories=2"],
    "upsample": ["coarse=coarse.xtc", "factor=2", "n_trajectories=1"],
    "inpaint": ["known=coarse.xtc", "tokens=[0,2]", "n_trajectories=1"],
}


@pytest.mark.parametrize("task", TASKS)
def test_each_task_from_files_of_ones_own(folder: Path, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert main(["generate", "model=model", f"task={task}", *TASKS[task], f"output=made/{task}"]) == 0
    store = TrajectoryStore.open(folder / f"made/{task}/trajectories")
    made = mdtraj.Trajectory(store.positions(0), MOLECULE.topology)
    known = {
        "rollout": {0: "start.pdb"},
        "interpolate": {0: "start.pdb", 6: "end.pdb"},
        "upsample": {0: "start.pdb", 2: "end.pdb"},
        "inpaint": {},
    }
    for frame, file in known[task].items():
        assert distance(made[frame], mdtraj.load(str(folder / file))) < (1e-4 if task != "upsample" else 2e-3)  # of xtc
    metrics = json.loads((folder / f"made/{task}/metrics.json").read_text())
    assert metrics["ns_per_second"] > 0
    again = mdgen.load(folder / f"made/{task}")  # what made them can be loaded again, with its structure
    assert (again.start is not None) == (task == "rollout")


BETWEEN = "task=interpolate between.trajectories=coarse.xtc between.topology=start.pdb length_ns=0.03"
MISTAKES = {
    "pdb=unknown.pdb length_ns=0.1": "tokens do not know residue XYZ",
    "pdb=gap.pdb length_ns=0.1": "residue ALA2 lacks C, O",
    "pdb=other.pdb length_ns=0.1": "was trained on ACE ALA NME alone, and the structure holds ACE ALA ALA NME",
    "pdb=nowhere.pdb": "pdb=nowhere.pdb does not exist",
    "length_ns=0.1": "keeps no frames to start from",
    "pdb=start.pdb length_ns=0.1 frame_spacing_ps=50": "frame_spacing_ps=50 was asked for, but the propagator",
    "pdb=start.pdb length_ns=0.1 temperature_K=300": "the parts were trained at 400 K",
    "task=interpolate start=start.pdb end=end.pdb length_ns=0.1": "makes at most 15 frames at once",
    "task=interpolate start=start.pdb end=gap.pdb length_ns=0.03": "the end has 12 atoms where 22 were expected",
    "task=interpolate start=start.pdb between.trajectories=coarse.xtc": "given with a start or an end",
    "pdb=start.pdb length_ns=0.1 between.trajectories=coarse.xtc": "says nothing to task=rollout",
    "pdb=start.pdb length_ns=0.1 protocol@between.protocol=mdgen": "between.protocol says nothing without between.traj",
    BETWEEN: "two slow modes",
    f"{BETWEEN} n_trajectories=0": "n_trajectories=0: expected at least 1 and at most 1000000",
    f"{BETWEEN} protocol@between.protocol=mdgen between.protocol.modes=1": "protocol.modes=1 is too few",
    f"{BETWEEN} protocol@between.protocol=proteins": "takes mdgen alone",
    "task=interpolate": "given no ends; name structures as start=FILE end=FILE, or dynamics as between.trajectories=",
    "task=interpolate start=start.pdb": "end was not given",
    "pdb=start.pdb length_ns=1e308": "length_ns=1e+308: expected a number above 0 and below 1e+09",
    "pdb=start.pdb length_ns=9e8": "the frames to come take",
    "pdb=start.pdb length_ns=0.1 threads=100000": "threads=100000: expected 1 to 1024",
    "pdb=start.pdb n_trajectories=100000000000000000000": "n_trajectories=100000000000000000000: expected at least 1",
    "task=upsample coarse=late.xtc factor=2": "are not equally spaced",
    "task=upsample coarse=coarse.xtc factor=3": "frame_spacing_ps=3.33333 follows from the times",
    "task=upsample coarse=coarse.xtc factor=3 frame_spacing_ps=5": "factor=3 does not divide the 10 ps",
    "task=upsample coarse=coarse.xtc factor=0": "factor=0: expected at least 1",
    "task=inpaint known=coarse.xtc tokens=[3]": "there are tokens 0 to 2; there is no 3",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    folder: Path, command: str, monkeypatch: pytest.MonkeyPatch, said: Callable[..., str]
) -> None:
    monkeypatch.chdir(folder)
    assert MISTAKES[command] in said("generate", "model=model", *command.split(), "output=mistake")
    assert not (folder / "mistake").exists()


def test_frames_out_of_order_are_refused_in_python(folder: Path) -> None:
    coarse = mdtraj.load(str(folder / "coarse.xtc"), top=str(folder / "start.pdb"))
    coarse.time = np.array([0.0, 10.0, 30.0, 20.0])
    with pytest.raises(MdgenError, match="out of order: frame 2 is at 30 ps and frame 3 at 20 ps"):
        mdgen.load(folder / "model").upsample(coarse, 2)


def test_which_model_is_meant(folder: Path, said: Callable[..., str]) -> None:
    for arguments, sentence in (
        (["generate"], "model was not given; say model=FOLDER_OR_NAME"),
        (["generate", "model=nothing_like_it"], "nothing_like_it is not a folder; give the folder of a run"),
        (["generate", f"model={folder}/model", "encoder_run=x"], "names all three parts; leave encoder_run out"),
    ):
        assert sentence in said(*arguments, f"output={folder}/mistake")


def test_two_parts_that_learn_are_two_runs(folder: Path, said: Callable[..., str]) -> None:
    given = ["encoder=srv", "propagator=interpolant", "decoder=se3_tokens", f"data.trajectories={folder}/md"]
    sentence = said("train", *given, f"output={folder}/mistake")
    assert "trains one part, but encoder, propagator was named" in sentence


def test_the_models_of_the_package_load_and_roll_out(folder: Path, tmp_path: Path) -> None:
    models = loading.pretrained_models()
    assert models
    mdgen.open(folder / "md")[0, :1].save_pdb(str(tmp_path / "start.pdb"))
    for name in models:
        (rollout,) = mdgen.load(name, pdb=str(tmp_path / "start.pdb")).rollout(n_frames=3)
        assert np.isfinite(rollout.xyz).all()
    assert '"data/pretrained" = "mdgen/pretrained"' in (Path(mdgen.__file__).parents[1] / "pyproject.toml").read_text()


def test_relaxation_leaves_known_residues_beside_inpainted_ones_where_they_are(folder: Path) -> None:
    simulator = mdgen.load("alanine_dipeptide_inpainting", pdb=str(folder / "start.pdb"))
    known = mdgen.open(folder / "md")[0, :12]
    known.time = 10.0 * np.arange(12)
    (plain_frames,) = simulator.inpaint(known, [0], temperature_K=400.0)
    simulator.relaxation = Relaxation(build_system(pdb=f"{folder}/start.pdb", solvent="vacuum"), 0.1)
    (relaxed,) = simulator.inpaint(known, [0], temperature_K=400.0)
    moved = np.linalg.norm(relaxed.xyz - plain_frames.xyz, axis=-1)
    carbonyl, others = moved[:, 4:6], moved[:, [6, 8, 10, 14, 15, 16]]  # the methyl's bonds are met first
    assert carbonyl.max() < 3e-3
    assert np.median(others) > 0.01


def test_the_demo_with_tokens_ends_in_a_report(folder: Path) -> None:
    network = [f"train_propagator.{each}" for each in NETWORK]
    steps = ["generate.n_trajectories=4", "generate.length_ns=0.4", "n_starts=3", "training_fraction=[0.0,0.5]"]
    steps += ["reference_fraction=[0.5,0.75]", "replicate_fraction=[0.75,1.0]"]
    judged = ["lag_ps", "tica_lag_ps"]
    steps += [f"evaluate.metrics.settings.{each}" for each in ("resamples=10", "permutations=99")]
    steps += [*(f"evaluate.metrics.settings.{each}=5.0" for each in judged)]
    run = [f"data.trajectories={folder}/md", f"output={folder}/demo", *network, *steps]
    assert main(["demo", "parts=tokens", *run]) == 0
    assert (folder / "demo/report.html").is_file()
    assert mdgen.load(folder / "demo/generate").molecule == MOLECULE
    starts = mdtraj.load(str(folder / "demo/starts.h5"))
    assert np.abs(starts.xyz[0] - TrajectoryStore.open(folder / "md").positions(0, 33, 34)[0]).max() < 1e-5


def test_a_demo_of_upsampling_makes_unseen_dynamics_coarse(folder: Path) -> None:
    task = ["generate.task=upsample", "generate.factor=3", "reference_fraction=[0.5,0.75]"]
    config = with_data(
        plain(compose("demo", ["parts=tokens", f"data.trajectories={folder}/md", f"output={folder}/fine", *task]))
    )
    (folder / "fine").mkdir()
    write_known(config)
    coarse, unseen = mdgen.open(config["generate"]["coarse"]), mdgen.open(folder / "md").trajectory(2)
    assert coarse.frame_spacing_ps == 3 * SPACING_PS
    assert np.abs(coarse.positions(0) - unseen.xyz[::3]).max() < 1e-5
    assert config["evaluate"]["reference"]["fraction"] == [0.5, 0.75]
    with pytest.raises(MdgenError, match=r"generate\.factor=None: say how many"):
        with_data(plain(compose("demo", ["parts=tokens", "generate.task=upsample"])))


def test_the_experiment_with_tokens_skips_what_is_for_slow_modes() -> None:
    config = plain(compose("demo", ["experiment=tokens_alanine_dipeptide"]))
    assert config["four_wells"] is None
    assert config["evaluate"]["encoder_run"] is None
    assert config["train_propagator"]["data"]["frames"] == 16


def test_a_demo_of_paths_takes_their_ends_from_unseen_dynamics() -> None:
    config = with_data(plain(compose("demo", ["experiment=tokens_tetrapeptide", "generate.task=interpolate"])))
    assert config["generate"]["start"] is None
    assert config["generate"]["between"] == config["evaluate"]["reference"]
    assert config["generate"]["between"]["fraction"] == [0.5, 0.75]


def test_a_demo_of_paths_finds_their_ends_as_it_judges_them_and_in_dynamics_that_are_named() -> None:
    paths = ["experiment=tokens_paths", "evaluate.protocol.n_states=50"]
    config = with_data(plain(compose("demo", paths)))
    judge = config["evaluate"]["protocol"]
    assert config["generate"]["between"] == {**config["evaluate"]["reference"], "protocol": judge}
    own = ["generate.between.trajectories=own.xtc", "generate.between.fraction=[0.0,0.5]"]
    between = with_data(plain(compose("demo", [*paths, *own])))["generate"]["between"]
    assert (between["trajectories"], between["fraction"], between["protocol"]) == ("own.xtc", [0.0, 0.5], judge)


def test_frames_are_relaxed_in_a_force_field(folder: Path, said: Callable[..., str]) -> None:
    start, end = folder / "start.pdb", folder / "end.pdb"
    command = ["generate", f"model={folder}/model", f"pdb={start}", "n_trajectories=3", "task=interpolate"]
    command += [
        f"start={start}",
        f"end={end}",
        "length_ns=0.06",
        f"output={folder}/relaxed",
        "relaxation.length_ps=0.01",
    ]
    system = ["system=pdb", f"system.pdb={start}", "system.solvent=vacuum"]
    assert main([*command, *system]) == 0
    metrics = json.loads((folder / "relaxed/metrics.json").read_text())
    assert (metrics["n_frames_relaxed"], metrics["n_frames"]) == (39, 13)
    made = mdgen.open(folder / "relaxed")
    for number, file in ((0, start), (-1, end)):  # frames that are known stay as they are
        known = mdtraj.load(str(file))
        assert mdtraj.rmsd(made.trajectory(1)[number], known)[0] < 1e-3
    other = f"output={folder}/other"
    assert "a periodic box" in said(*command, *system, other, "system.solvent=tip3p")
    assert "the system of the force field" in said(*command, "system=peptide", "system.sequence=A", other)
    assert not (folder / "other").exists()
    assert "relaxation" in said(*command, *system, "relaxation.length_ps=0.02")
    assert "says nothing without a force field" in said(*command, other)
