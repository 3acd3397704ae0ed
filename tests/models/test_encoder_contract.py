"""What every encoder must do."""

from dataclasses import replace

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import Context, Encoder, LatentSpace, SpectralEncoder
from mdgen.models.checkpoint import load_model, save_model
from mdgen.training.train import PROCEDURES, procedure_of
from tests.models.parts import (
    ENCODERS,
    MOLECULE,
    WITH_KEY_FRAMES,
    contexts,
    least_context,
    trained,
    trained_encoder,
    trajectories,
)
from tests.models.structures import frames

POSITIONS = frames(30, seed=9)


@pytest.fixture(params=ENCODERS)
def name(request):
    return request.param


def test_it_keeps_the_seam_and_offers_one_procedure(name):
    encoder = trained_encoder(name)
    assert isinstance(encoder, Encoder)
    assert encoder.learns_from in ("lagged_frames", "nothing")
    assert procedure_of(encoder) in PROCEDURES.values()
    assert not encoder.training


def test_shapes_follow_the_latent_and_leading_axes_do_not_matter(name):
    encoder = trained_encoder(name)
    latent = encoder.encode(POSITIONS, least_context(name, 30))
    tokens = encoder.latent.tokens or MOLECULE.topology.n_residues
    assert latent.shape == (30, tokens, encoder.latent.channels)
    assert torch.isfinite(latent).all()
    windows = encoder.encode(POSITIONS.view(5, 6, -1, 3), least_context(name, 5))
    torch.testing.assert_close(windows.flatten(0, 1), latent)


class FromKeyFrame:
    """Encoder of the distance of each atom from the key frame in units that grow with temperature."""

    latent = LatentSpace("distances", MOLECULE.n_atoms, 1)

    def encode(self, positions, context):
        rows = (-1, *[1] * (positions.ndim - 2))
        distances = (positions - context.key_frames[:, 0].view(*rows[:-1], *positions.shape[-2:])).norm(dim=-1)
        return (distances / context.temperature_K.view(rows)).unsqueeze(-1)


@pytest.mark.parametrize("encoder", [*ENCODERS, "FromKeyFrame"])
def test_row_i_of_the_context_belongs_to_row_i_of_the_positions(encoder):
    encoder = FromKeyFrame() if encoder == "FromKeyFrame" else trained_encoder(encoder)
    assert isinstance(encoder, Encoder)
    runs = POSITIONS.view(5, 6, -1, 3)
    full = contexts(5)["full"]
    context = replace(full, temperature_K=300 + 20 * torch.arange(5.0), key_frames=runs[:, 3:4])
    together = encoder.encode(runs, context)
    alone = [encoder.encode(run[None], context.rows(torch.tensor([row]))) for row, run in enumerate(runs)]
    torch.testing.assert_close(together, torch.cat(alone))
    frames_alone = encoder.encode(POSITIONS, context.rows(torch.arange(5).repeat_interleave(6)))
    torch.testing.assert_close(together, frames_alone.unflatten(0, (5, 6)))


def test_a_row_does_not_depend_on_the_others(name):
    encoder = trained_encoder(name)
    every, alone = (encoder.encode(x, least_context(name, len(x))) for x in (POSITIONS, POSITIONS[7:8]))
    torch.testing.assert_close(every[7:8], alone)


def test_a_rigid_motion_changes_nothing(name):
    encoder = trained_encoder(name)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))
    moved = POSITIONS @ (rotation * torch.linalg.det(rotation)).T + 0.5
    context = least_context(name, 30)
    torch.testing.assert_close(encoder.encode(moved, context), encoder.encode(POSITIONS, context), atol=1e-3, rtol=1e-3)


def test_the_latent_is_differentiable_in_the_positions(name):
    positions = POSITIONS[:3].clone().requires_grad_()
    trained_encoder(name).encode(positions, least_context(name, 3)).square().sum().backward()
    assert torch.isfinite(positions.grad).all()
    assert (positions.grad != 0).any()


@pytest.mark.parametrize("said", ["empty", "full"])
def test_any_context_will_do(name, said):
    if name in WITH_KEY_FRAMES:
        pytest.skip("it needs a key frame")
    assert trained_encoder(name).encode(POSITIONS, contexts(30)[said]).shape[0] == 30


def test_the_same_seed_gives_the_same_encoder_and_its_origin_names_it(name):
    if name in WITH_KEY_FRAMES:
        pytest.skip("it learns nothing, so its kind alone defines its coordinates")
    torch.rand(3)
    again = trained(ENCODERS[name]())
    assert again.latent == trained_encoder(name).latent
    assert again.latent.origin
    assert ENCODERS[name]().latent.origin != again.latent.origin


def test_the_data_have_mean_zero_and_spread_one(name):
    if name in WITH_KEY_FRAMES:
        pytest.skip("its channels have units")
    encoder = trained_encoder(name)
    latent = torch.cat([encoder.encode(torch.tensor(trajectories().positions(i)), Context())[:, 0] for i in range(5)])
    torch.testing.assert_close(latent.mean(0), torch.zeros(latent.shape[1]), atol=0.02, rtol=0)
    torch.testing.assert_close(latent.std(0), torch.ones(latent.shape[1]), atol=0.03, rtol=0)


def test_a_file_gives_it_back(name, tmp_path):
    encoder = trained_encoder(name)
    save_model(tmp_path / "encoder.safetensors", encoder, {"temperature_K": 300.0})
    again = load_model(tmp_path / "encoder.safetensors")
    assert type(again) is type(encoder)
    assert again.latent == encoder.latent
    assert again.metadata == {"temperature_K": 300.0}
    context = least_context(name, 30)
    assert torch.equal(again.encode(POSITIONS, context), encoder.encode(POSITIONS, context))


def test_a_spectrum_is_ordered_and_its_timescales_follow(name):
    encoder = trained_encoder(name)
    if not isinstance(encoder, SpectralEncoder):
        pytest.skip("no spectrum")
    assert (encoder.eigenvalues.diff() <= 0).all()
    torch.testing.assert_close(encoder.timescales_ps[0], -encoder.lag_ps / encoder.eigenvalues[0].log())
    # phi changes its state with probability 0.02 a frame, and the lag is two frames.
    assert float(encoder.eigenvalues[0]) == pytest.approx(0.96**2, abs=0.06)


def test_a_lag_that_the_data_have_not_is_refused(name):
    encoder = ENCODERS[name]()
    if not hasattr(encoder, "lag_ps"):
        pytest.skip("no lag")
    for lag_ps, word in ((0.7, "lag"), (2000.0, "longest trajectory")):
        encoder.lag_ps = lag_ps
        with pytest.raises(MdgenError, match=word):
            trained(encoder)


def test_its_molecule_is_that_of_its_features(name):
    encoder = trained_encoder(name)
    assert encoder.latent.molecule in ("", MOLECULE.fingerprint)
