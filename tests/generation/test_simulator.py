import dataclasses
import hashlib
import json

import mdtraj
import numpy as np
import pytest
import torch

import mdgen
from mdgen.data.conditions import first_frame
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.generation import stream
from mdgen.generation.simulator import LatentSimulator
from mdgen.generation.stream import block_generator
from mdgen.generation.tasks import Interpolation, Rollout
from mdgen.interfaces import Context
from mdgen.models.batches import FrameBatch, TrainingData
from mdgen.models.checkpoint import save_model
from mdgen.models.decoders.cwgan import CWGAN
from mdgen.models.decoders.internal import InternalRepresentation
from mdgen.models.decoders.nearest_frame import NearestFrame
from mdgen.models.encoders.srv import SRV
from mdgen.models.propagators.markov_state_model import MarkovStateModel
from mdgen.models.propagators.mdn import MDN
from mdgen.molecule.features import TorsionDistanceFeatures
from mdgen.training.pair_batches import pairs_of
from tests.generation.toys import Atoms, RandomWalk
from tests.models.structures import alanine_dipeptide, frames
from tests.molecule.conftest import ALANINE, CAP_AFTER, CAP_BEFORE, peptide

MOLECULE = alanine_dipeptide()
POSITIONS = frames(400)


def parts(propagator=MDN):
    """Untrained parts that fit together; only their plumbing is tested here."""
    generator = torch.Generator().manual_seed(0)
    encoder = SRV(TorsionDistanceFeatures(MOLECULE), lag_ps=2.0, n_modes=2, hidden=[8])
    encoder.initialise(generator)
    features = encoder.features(POSITIONS)
    encoder.fit_standardisation(features)
    encoder.fit_spectrum(pairs_of([features], 1))
    latents = encoder.encode(POSITIONS, Context()).flatten(1).detach()
    if propagator is MDN:
        made = MDN(encoder.latent, 2.0, n_components=3, hidden=[8])
        made.initialise(generator)
        made.fit_scale(latents, generator)
    else:
        made = MarkovStateModel(encoder.latent, 2.0, n_states=5)
        made.centres.copy_(latents[::80])
        made.transition_matrix.fill_(0.2)
        made.members.copy_(latents[torch.randint(400, (5, 100), generator=generator)])
        made.starts.copy_(latents[torch.randint(400, (512,), generator=generator), None])
    decoder = CWGAN(encoder.latent, InternalRepresentation.fitted(MOLECULE, POSITIONS), noise_channels=3, hidden=[8, 8])
    decoder.initialise(generator)
    decoder.fit_scale(latents)
    return encoder, made, decoder


@pytest.fixture(scope="module")
def simulator():
    return LatentSimulator(*parts())


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of seven frames of three trajectories."""
    monkeypatch.setattr(stream, "BLOCK_BYTES", 7 * 3 * 22 * 12)


def read(store):
    return np.stack([store.positions(i) for i in range(store.n_trajectories)])


@pytest.mark.parametrize("kind", [MDN, MarkovStateModel])
def test_rollout_gives_trajectories_of_the_molecule_one_lag_apart(kind):
    simulator = LatentSimulator(*parts(kind))
    trajectories = simulator.rollout(n_frames=11, n_trajectories=3, seed=1)
    assert [len(trajectory) for trajectory in trajectories] == [11, 11, 11]
    assert trajectories[0].timestep == pytest.approx(2.0)
    MOLECULE.require_same(mdgen_molecule(trajectories[0]), "the generated trajectory")
    assert all(np.isfinite(trajectory.xyz).all() for trajectory in trajectories)


def mdgen_molecule(trajectory):
    return type(MOLECULE).from_mdtraj(trajectory.topology)


def test_store_and_memory_hold_the_same_frames(simulator, tmp_path, small_blocks):
    store = simulator.generate_to_store(tmp_path / "run", Rollout(n_frames=20), n_trajectories=3, seed=5)
    in_memory = simulator.rollout(n_frames=20, n_trajectories=3, seed=5)
    assert store.n_frames == 20
    assert store.frame_spacing_ps == 2.0
    assert np.array_equal(read(store), np.stack([trajectory.xyz for trajectory in in_memory]))
    other = simulator.rollout(n_frames=20, n_trajectories=3, seed=6)
    assert not np.array_equal(other[0].xyz, in_memory[0].xyz)


@pytest.mark.parametrize("when", ["between blocks", "before the record"])
def test_an_interrupted_rollout_resumes_as_if_it_had_never_stopped(
    simulator, tmp_path, small_blocks, monkeypatch, when
):
    whole = simulator.generate_to_store(tmp_path / "whole", Rollout(n_frames=40), n_trajectories=3, seed=2)
    calls = []
    target = (simulator.decoder, "decode") if when == "between blocks" else (stream.GenerationRecord, "save")
    original = getattr(*target)

    def stops(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(*target, stops)
        with pytest.raises(KeyboardInterrupt):
            simulator.generate_to_store(tmp_path / "cut", Rollout(n_frames=40), n_trajectories=3, seed=2)
    assert 0 < TrajectoryStore.open(tmp_path / "cut").n_frames < 40
    resumed = simulator.generate_to_store(tmp_path / "cut", Rollout(n_frames=40), n_trajectories=3, seed=2)
    assert np.array_equal(read(resumed), read(whole))
    again = simulator.generate_to_store(tmp_path / "cut", Rollout(n_frames=40), n_trajectories=3, seed=2)
    assert again.n_frames == 40


def remembering(coherent_modes=2):
    """A simulator whose decoder remembers from frame to frame, of data in which there is something to remember."""
    encoder, propagator, _ = parts()
    generator = torch.Generator().manual_seed(4)
    slowly = POSITIONS[torch.arange(400) // 8 * 8]  # every structure stays for eight frames
    latents = torch.randn(400, 2, generator=generator)
    times = Context(frame_spacing_ps=torch.full((400,), 2.0))
    frames_in_order = FrameBatch(slowly, latents, trajectories=torch.zeros(400, dtype=torch.int64), context=times)
    decoder = NearestFrame(encoder.latent, MOLECULE, 400, coherent_modes=coherent_modes, coherent_neighbours=64)
    decoder.fit(TrainingData(frames_in_order, encoder=encoder), generator)
    return LatentSimulator(encoder, propagator, decoder)


def test_what_is_remembered_outlives_blocks_and_interruptions(tmp_path, small_blocks, monkeypatch):
    simulator = remembering()
    assert simulator.decoder.remembers
    task = {"n_trajectories": 3, "seed": 2}
    whole = simulator.generate_to_store(tmp_path / "whole", Rollout(n_frames=40), **task)
    simulator.generate_to_store(tmp_path / "parts", Rollout(n_frames=7), **task)
    given = []
    original = simulator.decoder.choose

    def spy(latent, context, generator, before=None):
        given.append(before)
        return original(latent, context, generator, before)

    monkeypatch.setattr(simulator.decoder, "choose", spy)
    resumed = simulator.generate_to_store(tmp_path / "parts", Rollout(n_frames=40), **task)
    assert np.array_equal(read(resumed), read(whole))
    last = simulator.decoder.positions[given[0]]  # what it goes on from is the last frame of the first block
    assert np.array_equal(last.numpy(), read(whole)[:, 6])


def test_a_rollout_is_extended_but_never_mixed_with_another(simulator, tmp_path):
    simulator.generate_to_store(tmp_path / "run", Rollout(n_frames=5), n_trajectories=2, seed=2)
    before = read(TrajectoryStore.open(tmp_path / "run"))
    longer = simulator.generate_to_store(tmp_path / "run", Rollout(n_frames=9), n_trajectories=2, seed=2)
    assert longer.n_frames == 9
    assert np.array_equal(read(longer)[:, :5], before)
    with pytest.raises(MdgenError, match="seed 2, not 3"):
        simulator.generate_to_store(tmp_path / "run", Rollout(n_frames=12), n_trajectories=2, seed=3)
    with pytest.raises(MdgenError, match="already holds 9 frames"):
        simulator.generate_to_store(tmp_path / "run", Rollout(n_frames=4), n_trajectories=2, seed=2)
    with TrajectoryStore.create(tmp_path / "md", MOLECULE, 2.0, 1) as store:
        store.append(POSITIONS[None, :3].numpy())
    with pytest.raises(MdgenError, match="not generated"):
        simulator.generate_to_store(tmp_path / "md", Rollout(n_frames=4), seed=2)


@pytest.mark.parametrize("changed", ["encoder", "propagator", "decoder"])
def test_a_rollout_goes_on_with_the_same_parts_only(changed, tmp_path):
    first = parts()
    LatentSimulator(*first).generate_to_store(tmp_path / "run", Rollout(n_frames=5), n_trajectories=2, seed=2)
    before = read(TrajectoryStore.open(tmp_path / "run"))
    other = dict(zip(("encoder", "propagator", "decoder"), parts(), strict=True))
    with torch.no_grad():
        next(other[changed].parameters()).add_(0.1)
    if changed == "encoder":  # its latent's origin then differs too, as it does not where an encoder has none
        for name in ("propagator", "decoder"):
            other[name].latent = dataclasses.replace(other[name].latent, origin="")
    with pytest.raises(MdgenError, match=f"was generated with {changed} "):
        LatentSimulator(*other.values()).generate_to_store(
            tmp_path / "run", Rollout(n_frames=9), n_trajectories=2, seed=2
        )
    assert np.array_equal(read(TrajectoryStore.open(tmp_path / "run")), before)


@pytest.mark.parametrize("kind", [MDN, MarkovStateModel])
def test_blocks_of_a_markov_propagator_are_its_own_rollouts_bit_for_bit(kind, small_blocks):
    encoder, propagator, decoder = parts(kind)
    made = LatentSimulator(encoder, propagator, decoder).rollout(POSITIONS[:2], n_frames=17, n_trajectories=3, seed=5)
    now = encoder.encode(POSITIONS[:2], Context()).detach()[[0, 1, 0]]
    expected = []
    for block, length in enumerate((7, 8, 4)):  # all but the first block begin with a frame of the one before
        latent = propagator.sample(first_frame(now, length), Context(), block_generator(5, block, "propagate"))
        now = latent[:, -1]
        latent = latent[:, block > 0 :]
        expected.append(decoder.decode(latent, Context(), block_generator(5, block, "decode")))
    assert np.array_equal(np.stack([each.xyz for each in made]), torch.cat(expected, 1).numpy())


def test_random_streams_and_blocks_are_those_of_the_first_release(monkeypatch):
    # Whole numbers, so that the digests, taken before the windows came, hold on every machine.
    streams = [
        torch.randint(2**31, (1,), generator=block_generator(seed, block, purpose)).item()
        for seed in (0, 5)
        for block in (0, 3)
        for purpose in ("start", "propagate", "decode")
    ]
    assert hashlib.sha256(str(streams).encode()).hexdigest()[:16] == "69f4a8960c45772b"
    monkeypatch.setattr(stream, "BLOCK_BYTES", 7 * 3 * 2 * 12)
    made = LatentSimulator(Atoms(), RandomWalk(), Atoms()).rollout(n_frames=30, n_trajectories=3, seed=5)
    xyz = np.stack([trajectory.xyz for trajectory in made])
    assert hashlib.sha256(xyz.tobytes()).hexdigest()[:16] == "308eb57e9ac52275"


def test_trajectories_begin_at_the_latents_of_the_start(simulator, monkeypatch):
    seen = {}
    original = simulator.propagator.sample

    def spy(condition, context, generator):
        seen["start"] = condition.values[:, 0]
        return original(condition, context, generator)

    monkeypatch.setattr(simulator.propagator, "sample", spy)
    expected = simulator.encoder.encode(POSITIONS[:2], Context()).detach()[[0, 1, 0]]
    for start in (POSITIONS[:2], POSITIONS[:2].numpy(), mdtraj.Trajectory(POSITIONS[:2].numpy(), MOLECULE.topology)):
        simulator.rollout(start, n_frames=2, n_trajectories=3)
        torch.testing.assert_close(seen["start"], expected)
    simulator.rollout(POSITIONS[0], n_frames=2)
    torch.testing.assert_close(seen["start"], expected[:1])


def test_parts_that_do_not_belong_together_are_refused():
    encoder, propagator, decoder = parts()
    for change, words in (
        ({"kind": "se3_tokens"}, "propagator was made for latents of kind se3_tokens, but the encoder has slow_modes"),
        ({"channels": 3}, "the propagator was made for channels 3, but the encoder has 2"),
        ({"origin": "another"}, "the encoder another"),
        ({"molecule": "another"}, "the molecule another"),
    ):
        wrong = MDN(dataclasses.replace(encoder.latent, **change), 2.0, n_components=2, hidden=[4])
        with pytest.raises(MdgenError, match=words):
            LatentSimulator(encoder, wrong, decoder)
    longer = MDN(encoder.latent, 6.0, n_components=2, hidden=[4])
    assert LatentSimulator(encoder, longer, decoder).frame_spacing_ps == 6.0  # the propagator's, not the encoder's lag
    with pytest.raises(MdgenError, match="another molecule"):
        LatentSimulator(encoder, propagator, decoder, peptide(CAP_BEFORE, ALANINE, ALANINE, CAP_AFTER))


@pytest.mark.parametrize("kind", [MDN, MarkovStateModel])
def test_propagators_that_step_forward_bridge_known_frames(kind):
    encoder, propagator, _ = parts(kind)
    # One neighbour: the frame itself is decoded from the latent of a frame.
    decoder = NearestFrame(encoder.latent, MOLECULE, n_frames=len(POSITIONS), n_neighbours=1)
    latents = encoder.encode(POSITIONS, Context()).flatten(1).detach()
    decoder.fit(TrainingData(FrameBatch(POSITIONS, latents)), torch.Generator().manual_seed(0))
    simulator = LatentSimulator(encoder, propagator, decoder)
    (path,) = simulator.interpolate(POSITIONS[0], POSITIONS[1], 5)
    assert path.n_frames == 5
    assert np.array_equal(path.xyz[[0, -1]], POSITIONS[:2].numpy())
    (again,) = simulator.generate(Interpolation(POSITIONS[0], POSITIONS[1], 5))
    assert np.array_equal(again.xyz, path.xyz)
    (fine,) = simulator.upsample(POSITIONS[:3], 2)
    assert fine.n_frames == 5
    assert np.array_equal(fine.xyz[::2], POSITIONS[:3].numpy())
    with pytest.raises(MdgenError, match=r"all of the latent's tokens \(1\) are known"):
        simulator.inpaint(POSITIONS[:3], [0])


def test_mistaken_starts_are_refused(simulator):
    with pytest.raises(MdgenError, match=r"shape \(4, 21, 3\)"):
        simulator.rollout(torch.zeros(4, 21, 3))
    with pytest.raises(MdgenError, match="not finite"):
        simulator.rollout(torch.full((22, 3), torch.nan))
    other = peptide(CAP_BEFORE, ALANINE, ALANINE, CAP_AFTER)
    with pytest.raises(MdgenError, match="32 atoms where 22"):
        simulator.rollout(mdtraj.Trajectory(np.zeros((1, 32, 3)), other.topology))
    for wrong, sentence in (
        ({"n_frames": 0}, "must be at least 1"),
        ({"n_frames": 2, "seed": -1}, "seed is -1"),
    ):
        with pytest.raises(MdgenError, match=sentence):
            simulator.rollout(**wrong)


def test_load_reads_the_folder_of_a_run(tmp_path):
    encoder, propagator, decoder = parts()
    train = tmp_path / "train"
    save_model(train / "encoder.safetensors", encoder)
    save_model(train / "propagator.safetensors", propagator)
    with pytest.raises(MdgenError, match=r"lacks decoder.safetensors"):
        mdgen.load(train)
    save_model(train / "decoder.safetensors", decoder)
    expected = LatentSimulator(encoder, propagator, decoder).rollout(n_frames=3, seed=1)[0].xyz
    assert np.array_equal(mdgen.load(train).rollout(n_frames=3, seed=1)[0].xyz, expected)
    generate = tmp_path / "generate"
    generate.mkdir()
    names = {part: f"../train/{part}.safetensors" for part in ("encoder", "propagator", "decoder")}
    (generate / "simulator.json").write_text(json.dumps(names))
    assert np.array_equal(mdgen.load(generate).rollout(n_frames=3, seed=1)[0].xyz, expected)
    (generate / "simulator.json").write_text("{}")
    with pytest.raises(MdgenError, match="does not name"):
        mdgen.load(generate)
    with pytest.raises(MdgenError, match="not a folder"):
        mdgen.load(tmp_path / "absent")


def test_the_temperature_of_the_training_is_that_of_a_loaded_simulator(tmp_path):
    names = ("encoder", "propagator", "decoder")
    for name, part in zip(names, parts(), strict=True):
        save_model(tmp_path / f"{name}.safetensors", part, {"temperature_K": 310.0})
    simulator = mdgen.load(tmp_path)
    assert simulator.temperature_K == 310.0
    assert "310 K" in str(simulator)
    assert len(simulator.rollout(n_frames=3, temperature_K=310.0)[0]) == 3
    save_model(tmp_path / "decoder.safetensors", simulator.decoder, {"temperature_K": 300.0})
    with pytest.raises(MdgenError, match="encoder was trained at 310 K and the decoder at 300 K"):
        mdgen.load(tmp_path)


def test_each_file_must_hold_its_kind_of_part(tmp_path):
    kinds = ("encoder", "propagator", "decoder")
    for kind, part in zip(kinds, parts(), strict=True):
        save_model(tmp_path / f"{kind}.safetensors", part)
    for kind, wrong in (("encoder", "decoder"), ("propagator", "encoder"), ("decoder", "propagator")):
        names = {each: f"{each}.safetensors" for each in kinds} | {kind: f"{wrong}.safetensors"}
        (tmp_path / "simulator.json").write_text(json.dumps(names))
        with pytest.raises(MdgenError, match=rf"{wrong}.safetensors holds a \w+, which is no {kind}"):
            mdgen.load(tmp_path)


def test_streams_of_blocks_are_independent():
    draws = [
        torch.rand(1, generator=block_generator(seed, block, purpose)).item()
        for seed in (0, 1)
        for block in (0, 1)
        for purpose in ("start", "propagate", "decode")
    ]
    assert len(set(draws)) == len(draws)
