"""Rollout, interpolation, upsampling and inpainting through one call, to memory and to a store that resumes."""

import shutil
from types import SimpleNamespace

import mdtraj
import numpy as np
import pytest
import torch

import mdgen
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.generation import stream
from mdgen.generation.simulator import LatentSimulator
from mdgen.generation.tasks import Inpainting, Interpolation, Rollout, Upsampling
from mdgen.molecule.residues import residue_types
from tests.generation.toys import MOLECULE, Atoms, GaussianProcess, RandomWalk
from tests.molecule.conftest import ALANINE, CAP_AFTER, CAP_BEFORE, peptide

FRAMES = np.random.default_rng(0).normal(size=(2, 9, 2, 3)).astype(np.float32)
TASKS = {
    "rollout": Rollout(FRAMES[:, 0], n_frames=33),
    "interpolate": Interpolation(FRAMES[:, 0], FRAMES[:, 1], n_frames=9),
    "upsample": Upsampling(FRAMES, factor=4),
    "inpaint": Inpainting(np.tile(FRAMES, (1, 4, 1, 1)), tokens=[1]),
}
WHICH = {"rollout": np.s_[:, :1], "interpolate": np.s_[:, ::8], "upsample": np.s_[:, ::4], "inpaint": np.s_[:, :, 1:]}
"""Of the generated positions, those that are known."""

EXPECTED = {
    "rollout": FRAMES[:, :1],
    "interpolate": FRAMES[:, :2],
    "upsample": FRAMES,
    "inpaint": np.tile(FRAMES, (1, 4, 1, 1))[:, :, 1:],
}

FRAMES_MADE = {"rollout": 33, "interpolate": 9, "upsample": 33, "inpaint": 36}


@pytest.fixture
def simulator():
    return LatentSimulator(Atoms(), GaussianProcess(9), Atoms())


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of at least five frames of two trajectories."""
    monkeypatch.setattr(stream, "BLOCK_BYTES", 5 * 2 * 2 * 12)


def read(store):
    return np.stack([store.positions(i) for i in range(store.n_trajectories)])


@pytest.mark.parametrize("name", TASKS)
def test_what_is_known_comes_out_exactly_and_the_rest_is_drawn(name, simulator):
    made = simulator.generate(TASKS[name], seed=1)
    xyz = np.stack([trajectory.xyz for trajectory in made])
    assert np.array_equal(xyz[WHICH[name]], EXPECTED[name])
    again, other = (np.stack([each.xyz for each in simulator.generate(TASKS[name], seed=seed)]) for seed in (1, 2))
    assert np.array_equal(again, xyz)
    moved = (other != xyz).all(-1)
    moved[WHICH[name]] = True
    assert moved.all()
    assert np.array_equal(made[0].time, 2.0 * np.arange(xyz.shape[1]))
    MOLECULE.require_same(type(MOLECULE).from_mdtraj(made[0].topology), "what is generated")


def test_each_task_is_a_method_too_and_takes_what_is_known_in_turn(simulator):
    starts, ends = FRAMES[:, 0], FRAMES[:1, 1]
    made = simulator.interpolate(starts, ends, 9, n_trajectories=3, seed=4)
    assert np.array_equal([each.xyz[0] for each in made], starts[[0, 1, 0]])
    assert np.array_equal([each.xyz[-1] for each in made], ends[[0, 0, 0]])
    assert len(simulator.interpolate(starts, ends, 9)) == 2
    coarse = [mdtraj.Trajectory(each, MOLECULE.topology, time=8.0 * np.arange(9)) for each in FRAMES]
    for given in (FRAMES, torch.tensor(FRAMES), coarse):
        up = simulator.upsample(given, 4, seed=1)
        assert np.array_equal(np.stack([each.xyz[::4] for each in up]), FRAMES)
    assert np.array_equal(simulator.upsample(coarse[1], 4, n_trajectories=2)[1].xyz[::4], FRAMES[1])
    assert np.array_equal(simulator.inpaint(FRAMES, [0])[1].xyz[:, 0], FRAMES[1, :, 0])
    assert len(simulator.rollout(starts, n_frames=3)) == 1
    assert simulator.rollout(coarse[0], n_frames=20)[0].n_frames == 20


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("when", ["between blocks", "before the record"])
def test_a_store_holds_what_memory_holds_and_resumes(name, when, simulator, tmp_path, small_blocks, monkeypatch):
    expected = np.stack([trajectory.xyz for trajectory in simulator.generate(TASKS[name], seed=3)])
    calls = []
    target = (simulator.decoder, "decode") if when == "between blocks" else (stream.GenerationRecord, "save")
    original = getattr(*target)

    def stops(*arguments):
        calls.append(1)
        if len(calls) == (2 if name == "interpolate" else 3):
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(*target, stops)
        if (name, when) == ("interpolate", "between blocks"):  # one window is one block
            simulator.generate_to_store(tmp_path / "run", TASKS[name], seed=3)
        else:
            with pytest.raises(KeyboardInterrupt):
                simulator.generate_to_store(tmp_path / "run", TASKS[name], seed=3)
    store = simulator.generate_to_store(tmp_path / "run", TASKS[name], seed=3)
    assert np.array_equal(read(store), expected)
    assert np.array_equal(read(store)[WHICH[name]], EXPECTED[name])
    assert store.frame_spacing_ps == 2.0


CHANGED = [
    ("structures", Rollout(FRAMES[:, 1], n_frames=33), {}),
    ("task", Upsampling(FRAMES, factor=4), {}),
    ("seed", TASKS["rollout"], {"seed": 4}),
    ("n_trajectories", TASKS["rollout"], {"n_trajectories": 3}),
    ("frame_spacing_ps", TASKS["rollout"], {"frame_spacing_ps": 3.0}),
    ("temperature_K", TASKS["rollout"], {"temperature_K": 310.0}),
]


@pytest.mark.parametrize(("name", "task", "settings"), CHANGED, ids=[each[0] for each in CHANGED])
def test_a_store_is_never_mixed_from_two_tasks(name, task, settings, tmp_path):
    simulator = LatentSimulator(Atoms(), GaussianProcess(9, (2.0, 4.0)), Atoms(temperature_K=[300, 320]))
    first = {"seed": 3, "temperature_K": 300.0}
    simulator.generate_to_store(tmp_path / "run", TASKS["rollout"], **first)
    with pytest.raises(MdgenError, match=f"was generated with {name} .*, not .*; choose another folder"):
        simulator.generate_to_store(tmp_path / "run", task, **{**first, **settings})
    assert TrajectoryStore.open(tmp_path / "run").n_frames == 33


def test_what_does_not_fit_the_disk_is_refused_and_leaves_nothing_in_the_way(simulator, tmp_path, monkeypatch):
    frame = 2 * 12 * MOLECULE.n_atoms  # of both trajectories
    for name, task in TASKS.items():
        n_frames, folder = FRAMES_MADE[name], tmp_path / name
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda path, n=n_frames: SimpleNamespace(free=n * frame - 1))
            with pytest.raises(MdgenError, match="GB left; ask for fewer frames"):
                simulator.generate_to_store(folder, task, n_trajectories=2)
            assert not folder.exists()
            patch.setattr(shutil, "disk_usage", lambda path, n=n_frames: SimpleNamespace(free=n * frame))
            assert simulator.generate_to_store(folder, task, n_trajectories=2).n_frames == n_frames
    with pytest.raises(MdgenError, match="GB left; ask for fewer frames"):
        simulator.generate_to_store(tmp_path / "far", Rollout(FRAMES[:, 0], n_frames=10**15))  # told before it is made


def test_only_a_rollout_is_extended(simulator, tmp_path):
    before = read(simulator.generate_to_store(tmp_path / "run", TASKS["rollout"], seed=3))
    longer = read(simulator.generate_to_store(tmp_path / "run", Rollout(FRAMES[:, 0], n_frames=40), seed=3))
    assert longer.shape[1] == 40
    assert np.array_equal(longer[:, :33], before)
    simulator.generate_to_store(tmp_path / "path", TASKS["interpolate"])
    with pytest.raises(MdgenError, match="generated with n_frames 9, not 5"):
        simulator.generate_to_store(tmp_path / "path", Interpolation(FRAMES[:, 0], FRAMES[:, 1], n_frames=5))


OTHER = mdtraj.Trajectory(np.zeros((1, 22, 3)), peptide(CAP_BEFORE, ALANINE, CAP_AFTER).topology)
SLOW = mdtraj.Trajectory(FRAMES[0], MOLECULE.topology, time=10.0 * np.arange(9))
REFUSED = [
    (Rollout(np.zeros((4, 3, 3))), r"the start has shape \(4, 3, 3\); give positions \(frame, 2, 3\) in nm"),
    (Rollout(OTHER), "the start has 22 atoms where 2"),
    (Rollout(None), "keeps no frames to start from; give a structure"),
    (Rollout(FRAMES[0], n_frames=0), "a trajectory of 0 frames .* at least 1"),
    (Interpolation(FRAMES[0], np.full((2, 3), np.nan), 5), "the end holds a coordinate that is not finite"),
    (Interpolation(FRAMES[0], FRAMES[1], 1), "a trajectory of 1 frames .* at least 2"),
    (Interpolation(FRAMES[0], FRAMES[1], 10), "at most 9 frames at once.* at most 8 apart"),
    (Upsampling(FRAMES[0, 0], 2), r"coarse trajectory has shape \(2, 3\); give positions \(trajectory, frame, 2, 3\)"),
    (Upsampling([FRAMES[0], FRAMES[1, :5]], 2), r"coarse trajectory is given with \[5, 9\] frames"),
    (Upsampling([], 2), "at least one, all of one length"),
    (Upsampling(FRAMES, 0), "every 0-th frame cannot be known"),
    (Upsampling(FRAMES, 9), "frames 0 and 9 are 9 frames apart"),
    (Upsampling(SLOW, 4), "frame_spacing_ps=2.5 follows from the times .* but the propagator was trained at 2 ps"),
    (Inpainting(SLOW, [0]), "frame_spacing_ps=10 follows from the times of the known trajectories"),
    (Inpainting(FRAMES, [2]), "there are tokens 0 to 1; there is no 2"),
]


@pytest.mark.parametrize(("task", "sentence"), REFUSED)
def test_a_task_that_cannot_be_done_is_one_sentence_and_leaves_nothing(task, sentence, simulator, tmp_path):
    with pytest.raises(MdgenError, match=sentence) as error:
        simulator.generate_to_store(tmp_path / "run", task)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
    with pytest.raises(MdgenError, match="0 trajectories were asked for"):
        simulator.generate(TASKS["rollout"], n_trajectories=0)


def test_the_context_is_filled_for_every_part(tmp_path):
    encoder, decoder = Atoms(), Atoms(temperature_K=300.0)
    process = GaussianProcess(9, (1.0, 4.0), temperature_K=[280.0, 320.0])
    simulator = LatentSimulator(encoder, process, decoder)
    simulator.upsample(FRAMES, 4, frame_spacing_ps=2.5)
    simulator.rollout(FRAMES[:, 0], n_frames=20, n_trajectories=3, frame_spacing_ps=2.5)
    rows = {"encode": (2, 2), "sample": (2, 2, 2, 2, 3, 3, 3), "decode": (2, 3)}
    seen = {"encode": encoder.contexts, "sample": process.contexts, "decode": decoder.contexts}
    for call, contexts in seen.items():
        assert tuple(len(context.temperature_K) for context in contexts) == rows[call]
        for context in contexts:
            assert context.molecules == (MOLECULE,)
            assert (context.temperature_K == 300.0).all()
            assert (context.frame_spacing_ps == 2.5).all()
            assert context.residue_types.shape == (len(context.temperature_K), 2)
            assert (context.residue_types == residue_types(MOLECULE)).all()
            assert context.token_mask is None  # every token of one molecule is real
    up, *_ = process.contexts
    assert np.array_equal(up.key_frames[:, 0], FRAMES[:, 0])
    assert np.array_equal(decoder.contexts[-1].key_frames[:, 0], FRAMES[[0, 1, 0], 0])
    assert np.array_equal(encoder.contexts[0].key_frames[:, 0], FRAMES[:, 0])


def test_both_ends_of_a_path_are_measured_against_its_start():
    encoder, process = Atoms(), GaussianProcess(9)
    simulator = LatentSimulator(encoder, process, Atoms())
    made = simulator.interpolate(FRAMES[:, 0], FRAMES[0, :3], 9, n_trajectories=4)
    assert np.array_equal([each.xyz[-1] for each in made], FRAMES[0, [0, 1, 2, 0]])
    for context in encoder.contexts:
        assert np.array_equal(context.key_frames[:, 0], FRAMES[[0, 1, 0], 0])
    assert np.array_equal(process.contexts[0].key_frames[:, 0], FRAMES[[0, 1, 0, 0], 0])


def test_drawn_starts_have_no_structure_to_measure_against():
    decoder = Atoms()
    LatentSimulator(Atoms(), RandomWalk(), decoder).rollout(n_frames=3, n_trajectories=2)
    assert decoder.contexts[0].key_frames is None


def test_the_python_face_names_the_tasks():
    assert (mdgen.Rollout, mdgen.Interpolation) == (Rollout, Interpolation)
    assert (mdgen.Upsampling, mdgen.Inpainting) == (Upsampling, Inpainting)
    with pytest.raises(AttributeError, match="no attribute 'Extrapolation'"):
        mdgen.Extrapolation  # noqa: B018
