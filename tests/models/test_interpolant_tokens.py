"""A propagator of residues' tokens: symmetry, known frames, key frames that change."""

import functools

import pytest
import torch

from mdgen.data.collation import context_of
from mdgen.data.conditions import first_frame, tokens
from mdgen.errors import MdgenError
from mdgen.interfaces import Condition, Context
from mdgen.models.blocks.se3_tokens import COSINES, RIGID, SINES
from mdgen.models.checkpoint import load_model, save_model
from mdgen.models.encoders.se3_token_encoder import SE3TokenEncoder
from mdgen.models.propagators.interpolant_propagator import InterpolantPropagator
from mdgen.training.settings import settings_for
from mdgen.training.train import train
from tests.models.parts import MOLECULE, seeded, trajectories

WINDOW, SPACING_PS = 5, 0.5
ENCODER = SE3TokenEncoder()


@functools.cache
def learnt():
    part = InterpolantPropagator(
        ENCODER.latent, [SPACING_PS, SPACING_PS], WINDOW, width=16, heads=2, blocks=1, key_frame_blocks=1
    )
    adam = functools.partial(torch.optim.AdamW, lr=5e-3)
    settings = settings_for(part, optimizer=adam, max_epochs=5, batch_size=64, validation_share=0.2, average_decay=0.5)
    history = train(part, trajectories(), settings, ENCODER)["history"]
    assert history[-1]["validation/loss"] < 0.95 * history[0]["train/loss"]
    return part


@functools.cache
def a_trajectory():
    positions = torch.as_tensor(trajectories().positions(0, 0, 9)).clone()[None]
    context = context_of(MOLECULE, 1, None, SPACING_PS, positions[:, :1])
    return positions, context, ENCODER.encode(positions, context)


def test_samples_are_structures_that_agree_with_what_is_known():
    _, context, latent = a_trajectory()
    condition = first_frame(latent[:, 0], WINDOW)
    made = learnt().sample(condition, context, seeded())
    assert torch.equal(made[:, 0], latent[:, 0])
    torch.testing.assert_close(made[..., :4].norm(dim=-1), torch.ones_like(made[..., 0]))
    assert (made[..., 0] >= 0).all()
    length = torch.hypot(made[..., SINES], made[..., COSINES])
    expected = torch.hypot(latent[:, :1, :, SINES], latent[:, :1, :, COSINES])
    torch.testing.assert_close(length, expected.expand_as(length))


def test_samples_do_not_depend_on_where_the_molecule_is():
    positions, context, latent = a_trajectory()
    turn = torch.linalg.qr(torch.randn(3, 3, generator=seeded()))[0]
    turn = turn * torch.linalg.det(turn)
    moved = context_of(MOLECULE, 1, None, SPACING_PS, positions[:, :1] @ turn.T + 5.0)
    condition = first_frame(latent[:, 0], WINDOW)
    here, there = (learnt().sample(condition, each, seeded()) for each in (context, moved))
    torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-3)


def test_a_window_is_measured_against_its_own_first_frame_while_it_is_sampled():
    # From a later frame, told against the first of the trajectory, the same is sampled as against that frame itself.
    positions, context, latent = a_trajectory()
    later = context_of(MOLECULE, 1, None, SPACING_PS, positions[:, 6:7])
    own = ENCODER.encode(positions[:, 6:7], later)
    against_own = learnt().sample(first_frame(own[:, 0], WINDOW), later, seeded())
    against_first = learnt().sample(first_frame(latent[:, 6], WINDOW), context, seeded())
    torsions = slice(RIGID, None)
    torch.testing.assert_close(against_own[..., torsions], against_first[..., torsions], rtol=1e-2, atol=1e-2)
    assert (against_own[:, 0] - against_first[:, 0]).abs().max() > 0.05


def test_known_tokens_are_kept_in_every_frame():
    _, context, latent = a_trajectory()
    condition = tokens(latent[:, :WINDOW], [0, 2])
    made = learnt().sample(condition, context, seeded())
    assert torch.equal(made[:, :, [0, 2]], latent[:, :WINDOW, [0, 2]])
    assert not torch.allclose(made[:, :, 1], latent[:, :WINDOW, 1])
    everything = Condition(latent[:, :WINDOW], torch.ones_like(latent[:, :WINDOW], dtype=torch.bool))
    assert torch.equal(learnt().sample(everything, context, seeded()), latent[:, :WINDOW])


def test_what_is_not_known_is_not_told():
    _, context, latent = a_trajectory()
    condition = tokens(latent[:, :WINDOW], [0, 2])
    other = Condition(torch.where(condition.known, condition.values, 5.0), condition.known)
    assert torch.equal(*(learnt().sample(each, context, seeded()) for each in (condition, other)))


def test_tokens_of_residues_need_a_key_frame():
    _, _, latent = a_trajectory()
    with pytest.raises(MdgenError, match="key_frames"):
        learnt().sample(first_frame(latent[:, 0], WINDOW), Context(), seeded())


def test_a_file_of_a_network_of_whole_velocities_is_refused(tmp_path):
    part = InterpolantPropagator(ENCODER.latent, [1.0, 1.0], WINDOW, width=16, heads=2, blocks=1, key_frame_blocks=1)
    save_model(tmp_path / "part.safetensors", part)
    load_model(tmp_path / "part.safetensors")
    part.network._modules["last"] = part.network._modules.pop("added")  # as it was called then
    save_model(tmp_path / "part.safetensors", part)
    with pytest.raises(MdgenError, match=r"of another version of mdgen .* train the part again"):
        load_model(tmp_path / "part.safetensors")
