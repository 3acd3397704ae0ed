"""Parts are trained by one path from trajectories, and compose to a simulator."""

import functools

import numpy as np
import pytest
import torch

from mdgen.data.sources import ArraySource
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.generation.simulator import LatentSimulator
from mdgen.interfaces import LatentSpace
from mdgen.models.decoders.cwgan import CWGAN
from mdgen.models.decoders.nearest_frame import NearestFrame
from mdgen.models.encoders.srv import SRV
from mdgen.models.part import Part
from mdgen.models.propagators.markov_state_model import MarkovStateModel
from mdgen.models.propagators.mdn import MDN
from mdgen.molecule.features import TorsionDistanceFeatures
from mdgen.molecule.residues import residue_types
from mdgen.training.gathering import encode_trajectories, gather, temperature_range_K
from mdgen.training.settings import TrainerSettings, TrainingSettings, settings_for
from mdgen.training.train import procedure_of, train
from tests.models.parts import DECODERS, ENCODERS, PROPAGATORS
from tests.models.structures import alanine_dipeptide, frames

pytestmark = pytest.mark.usefixtures("one_filter_round")

MOLECULE = alanine_dipeptide()
FEATURES = TorsionDistanceFeatures(MOLECULE, distances="none")


@pytest.fixture(scope="module")
def trajectories():
    return TrajectorySet.from_arrays(MOLECULE, 0.5, [frames(1500, seed).numpy() for seed in range(5)])


@pytest.fixture(scope="module")
def encoder(trajectories):
    made = SRV(FEATURES, lag_ps=1.0, n_modes=2, hidden=[16])
    adam = functools.partial(torch.optim.Adam, lr=1e-2)
    train(made, trajectories, settings_for(made, optimizer=adam, max_epochs=20, batch_size=2000))
    return made


def test_encoder_finds_the_switching_torsion(encoder):
    # phi changes its state with probability 0.02 a frame: 0.98^2 + 0.02^2 - 2 0.98 0.02 at a lag of two frames.
    assert float(encoder.eigenvalues[0]) == pytest.approx(0.96**2, abs=0.03)
    assert float(encoder.eigenvalues[1]) < 0.3
    assert float(encoder.timescales_ps[0]) == pytest.approx(-1 / np.log(0.96**2), rel=0.4)


def test_a_propagator_learns_and_says_from_how_much(trajectories, encoder):
    propagator = MDN(encoder.latent, 1.0, n_components=4, hidden=[16])
    metrics = train(propagator, trajectories, settings_for(propagator, max_epochs=3, batch_size=1000), encoder)
    assert (metrics["n_frames"], metrics["n_examples"]) == (7500, 5 * 1498)
    assert metrics["history"][-1]["train/loss"] < metrics["history"][0]["train/loss"]


def test_the_three_parts_compose_to_a_simulator_that_keeps_geometry(trajectories, encoder, tmp_path):
    propagator = MarkovStateModel(encoder.latent, 1.0)
    train(propagator, trajectories, encoder=encoder)
    decoder = CWGAN(encoder.latent, noise_channels=5, hidden=[16, 16], critic_steps=2)
    settings = settings_for(decoder, n_steps=20, batch_size=64)
    metrics = train(decoder, trajectories, settings, encoder, folder=tmp_path)
    assert len(metrics["history"]) == 2
    assert {"train/wasserstein", "train/penalty", "train/consistency"} <= set(metrics["history"][-1])
    made = LatentSimulator(encoder, propagator, decoder).rollout(n_frames=30, n_trajectories=2)
    bonds = MOLECULE.bonds
    lengths = np.linalg.norm(made[0].xyz[:, bonds[:, 0]] - made[0].xyz[:, bonds[:, 1]], axis=-1)
    assert (np.abs(lengths - 0.13) < 0.03).all()
    baseline = NearestFrame(encoder.latent, MOLECULE, n_frames=1000)
    train(baseline, trajectories, encoder=encoder)
    frames_of = LatentSimulator(encoder, propagator, baseline).rollout(n_frames=5)[0].xyz
    known = np.concatenate([trajectories.positions(i) for i in range(5)])
    assert all((known == frame).all((1, 2)).any() for frame in frames_of)


@pytest.mark.parametrize("kind", ["lagged_frames", "lagged_latents", "latent_windows", "frames"])
def test_every_kind_of_data_carries_the_context_of_each_item(kind, trajectories, encoder):
    part = MDN(encoder.latent, 1.0, 1, [4])
    part.learns_from, part.features = kind, FEATURES
    arrays = [trajectories.positions(i) for i in range(len(trajectories))]
    warm = TrajectorySet.from_arrays(MOLECULE, 0.5, arrays, temperature_K=310.0)
    data = gather(part, warm, TrainingSettings(validation_share=0.2), torch.Generator().manual_seed(0), encoder)
    batch = data.training.rows(torch.tensor([5, 3]))
    assert batch.context.molecules == (MOLECULE,)
    assert batch.context.temperature_K.tolist() == [310.0, 310.0]
    assert batch.context.frame_spacing_ps.tolist() == [1.0 if kind == "latent_windows" else 0.5] * 2
    assert batch.context.residue_types.tolist() == [residue_types(MOLECULE).tolist()] * 2
    assert (data.validation is None) == (kind == "frames")
    assert data.molecule == MOLECULE


@pytest.mark.parametrize("kind", ["lagged_frames", "lagged_latents", "latent_windows", "frames"])
def test_each_item_has_the_temperature_of_its_trajectory(kind, encoder):
    kelvin = [300.0, 330.0, 300.0, 360.0, 330.0]
    sources = [ArraySource(f"at {t:g} K", np.full((20, 22, 3), t, np.float32), t) for t in kelvin]
    mixed = TrajectorySet(MOLECULE, 0.5, sources)
    part = MDN(encoder.latent, 1.0, 1, [4])
    part.learns_from, part.features = kind, torch.nn.Identity()

    class Marked:
        """Its latent is the first coordinate, which is the temperature here, and it reads the context."""

        latent, metadata = LatentSpace("slow_modes", 1, 1), {"temperature_K": [300.0, 360.0]}

        def encode(self, positions, context):
            assert (positions[..., 0, 0] == context.temperature_K[:, None]).all()
            return positions[..., :1, :1]

    data = gather(part, mixed, TrainingSettings(validation_share=0.2), torch.Generator().manual_seed(0), Marked())
    for items in (data.every, data.training, data.validation):
        if items is not None:
            batch = items.rows(torch.randperm(len(items))[:50])
            values = batch.latents if hasattr(batch, "latents") else batch.frames[batch.now]
            assert (values.flatten(1)[:, 0] == batch.context.temperature_K).all()
    assert sorted(set(data.every.context.temperature_K.tolist())) == [300.0, 330.0, 360.0]
    assert temperature_range_K([mixed]) == [300.0, 360.0]


def test_an_encoder_of_another_temperature_is_refused(trajectories, encoder):
    arrays = [trajectories.positions(0)]
    part = MDN(encoder.latent, 1.0, 1, [4])
    encoder.metadata = {"temperature_K": 300.0}
    try:
        warm = TrajectorySet.from_arrays(MOLECULE, 0.5, arrays, temperature_K=310.0)
        with pytest.raises(MdgenError, match="array 0 is at 310 K, and the encoder was trained at 300 K; give"):
            train(part, warm, encoder=encoder)
        for kelvin in (300.0, None):
            encode_trajectories(TrajectorySet.from_arrays(MOLECULE, 0.5, arrays, temperature_K=kelvin), encoder)
    finally:
        encoder.metadata = {}


def test_windows_are_stretches_of_one_trajectory(trajectories, encoder):
    part = type("Windowed", (MDN,), {"learns_from": "latent_windows", "window": 3})(encoder.latent, 1.0, 1, [4])
    data = gather(part, trajectories, TrainingSettings(validation_share=0.0), torch.Generator(), encoder)
    assert len(data.every) == 5 * (1500 - 4)
    tables = encode_trajectories(trajectories, encoder)
    chosen = torch.tensor([0, 1495, 1496])
    expected = [tables[0][0:5:2], tables[0][1495:1500:2], tables[1][0:5:2]]
    assert torch.equal(data.every.rows(chosen).latents, torch.stack(expected))


def test_mistakes_are_named(trajectories, encoder):
    broken = SRV(FEATURES, lag_ps=1.0, n_modes=2)
    broken.output_mean.fill_(torch.nan)
    with pytest.raises(MdgenError, match="not finite"):
        encode_trajectories(trajectories, broken)
    part = MDN(encoder.latent, 1.0, 1, [4])
    part.learns_from = "dreams"
    with pytest.raises(MdgenError, match="learns_from is 'dreams'; expected one of lagged_frames"):
        train(part, trajectories, encoder=encoder)


def test_a_part_offers_exactly_one_procedure():
    class Idle(Part):
        learns_from = "frames"

    class Torn(Idle):
        def loss(self, batch, generator): ...

        def fit(self, data, generator): ...

    for part in (Idle(), Torn()):
        with pytest.raises(MdgenError, match=r"cannot be trained: .* exactly one of loss"):
            procedure_of(part)


def briefly(part, trajectories, encoder, machine):
    short = {"n_steps": 10, "batch_size": 32} if part.learns_from == "frames" else {"max_epochs": 2}
    return train(part, trajectories, settings_for(part, **short), encoder, machine)["history"]


@pytest.mark.parametrize("precision", ["bf16-mixed", pytest.param("32-true", marks=pytest.mark.gpu)])
def test_machine_and_precision_reach_the_training(precision, trajectories, encoder):
    gpu = precision == "32-true"
    if gpu and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    machine = TrainerSettings("cuda" if gpu else "cpu", precision=precision)
    for make in (ENCODERS["SRV"], *(PROPAGATORS[k] for k in ("MDN", "WindowFiller")), DECODERS["CWGAN internal"]):
        first, second = (make() if make is ENCODERS["SRV"] else make(encoder.latent) for _ in range(2))
        history = briefly(first, trajectories, encoder, machine)
        plain = briefly(second, trajectories, encoder, TrainerSettings())
        assert all(np.isfinite(value) for row in history for value in row.values())
        assert history != plain
        assert all(parameter.device.type == "cpu" for parameter in first.parameters())
