import functools

import numpy as np
import pytest
import torch

from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.generation.simulator import LatentSimulator
from mdgen.models.batches import DecoderBatch
from mdgen.models.decoders.cwgan import CWGAN
from mdgen.models.decoders.internal import InternalRepresentation
from mdgen.models.decoders.nearest_frame import NearestFrame
from mdgen.models.encoders.srv import SRV
from mdgen.models.encoders.tica import TICA
from mdgen.models.propagators.markov_state_model import MarkovStateModel
from mdgen.models.propagators.mdn import MDN
from mdgen.molecule.features import TorsionDistanceFeatures
from mdgen.training.decoder import DecoderSettings, RandomFrames, rarity, train_decoder
from mdgen.training.encoder import EncoderSettings, train_encoder
from mdgen.training.latents import encode_trajectories
from mdgen.training.propagator import PropagatorSettings, train_propagator
from tests.models.structures import alanine_dipeptide, frames

MOLECULE = alanine_dipeptide()
FEATURES = TorsionDistanceFeatures(MOLECULE, distances="none")
SETTINGS = EncoderSettings(functools.partial(torch.optim.Adam, lr=1e-2), max_epochs=20, batch_pairs=2000)
SMALL = functools.partial(SRV, hidden=[16])


@pytest.fixture(scope="module")
def trajectories():
    return TrajectorySet.from_arrays(MOLECULE, 0.5, [frames(1500, seed).numpy() for seed in range(5)])


@pytest.fixture(scope="module")
def encoder(trajectories):
    made = SMALL(FEATURES, lag_ps=1.0, n_modes=2)
    train_encoder(trajectories, made, SETTINGS)
    return made


@pytest.fixture(scope="module")
def latents(trajectories, encoder):
    return encode_trajectories(trajectories, encoder)


def test_encoder_finds_the_switching_torsion(trajectories, encoder, latents):
    # phi changes its state with probability 0.02 a frame: 0.98^2 + 0.02^2 - 2 0.98 0.02 at a lag of two frames.
    assert float(encoder.eigenvalues[0]) == pytest.approx(0.96**2, abs=0.03)
    assert float(encoder.eigenvalues[1]) < 0.3
    assert float(encoder.timescales_ps[0]) == pytest.approx(-1 / np.log(0.96**2), rel=0.4)


def test_tica_is_solved_by_the_same_call(trajectories):
    tica = TICA(FEATURES, lag_ps=1.0, n_modes=2)
    metrics = train_encoder(trajectories, tica, EncoderSettings())
    assert metrics["eigenvalues"][0] == pytest.approx(0.96**2, abs=0.03)
    assert metrics["n_pairs"] == 5 * 1498


def test_same_seed_same_encoder_whatever_was_drawn_before(trajectories, encoder):
    torch.rand(7)
    again = SMALL(FEATURES, lag_ps=1.0, n_modes=2)
    metrics = train_encoder(trajectories, again, SETTINGS)
    assert again.latent.origin == encoder.latent.origin
    assert len(metrics["history"]) <= 20
    assert metrics["history"][0]["validation/vamp2"] > 0


@pytest.mark.parametrize("make", [functools.partial(MDN, n_components=4, hidden=[16]), MarkovStateModel])
def test_propagators_are_made_for_the_latent_and_trained(make, encoder, latents):
    settings = PropagatorSettings(max_epochs=3, batch_pairs=1000)
    propagator, metrics = train_propagator(latents, 0.5, encoder.latent, make, settings)
    assert propagator.latent == encoder.latent
    assert metrics["n_frames"] == 7500
    assert not propagator.training
    assert torch.isin(propagator.starts.flatten(1), torch.cat(latents)).all()
    if metrics["history"]:
        assert metrics["history"][-1]["train/loss"] < metrics["history"][0]["train/loss"]


def test_the_three_parts_compose_to_a_simulator_that_keeps_geometry(trajectories, encoder, latents, tmp_path):
    propagator, _ = train_propagator(latents, 0.5, encoder.latent, MarkovStateModel, PropagatorSettings())
    settings = DecoderSettings(n_steps=20, batch_frames=64, critic_steps=2)
    small = functools.partial(CWGAN, noise_channels=5, hidden=[16, 16])
    decoder, metrics = train_decoder(
        trajectories, latents, encoder, small, InternalRepresentation.fitted, settings, tmp_path
    )
    assert len(metrics["history"]) >= 1
    assert {"train/wasserstein", "train/penalty", "train/consistency"} <= set(metrics["history"][-1])
    made = LatentSimulator(encoder, propagator, decoder).rollout(n_frames=30, n_trajectories=2)
    bonds = MOLECULE.bonds
    lengths = np.linalg.norm(made[0].xyz[:, bonds[:, 0]] - made[0].xyz[:, bonds[:, 1]], axis=-1)
    assert (np.abs(lengths - 0.13) < 0.03).all()
    nearest = functools.partial(NearestFrame, n_frames=1000)
    baseline, _ = train_decoder(trajectories, latents, encoder, nearest, InternalRepresentation.fitted, settings)
    frames_of = LatentSimulator(encoder, propagator, baseline).rollout(n_frames=5)[0].xyz
    known = np.concatenate([trajectories.positions(i) for i in range(5)])
    assert all((known == frame).all((1, 2)).any() for frame in frames_of)


def test_mistakes_are_named(trajectories, encoder, latents):
    with pytest.raises(MdgenError, match="lag"):
        train_encoder(trajectories, SMALL(FEATURES, lag_ps=0.7), EncoderSettings())
    with pytest.raises(MdgenError, match="longest trajectory"):
        train_encoder(trajectories, TICA(FEATURES, lag_ps=2000.0), EncoderSettings())
    with pytest.raises(MdgenError, match="lengths differ"):
        train_decoder(
            trajectories, latents[:3], encoder, CWGAN, InternalRepresentation.fitted, DecoderSettings(n_steps=1)
        )
    broken = [table.clone() for table in latents]
    broken[1][3] = torch.nan
    with pytest.raises(MdgenError, match="not finite"):
        train_propagator(broken, 0.5, encoder.latent, MDN, PropagatorSettings())


def test_full_balance_draws_rare_latents_as_often_as_common_ones():
    latents = torch.cat([torch.zeros(990, 1), torch.ones(10, 1)])
    batches = RandomFrames(DecoderBatch(latents, latents), rarity(latents), 5000, 1, torch.Generator().manual_seed(0))
    (batch,) = batches
    assert float(batch.latents.mean()) == pytest.approx(0.5, abs=0.03)
