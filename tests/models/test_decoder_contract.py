"""What every decoder must do."""

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import Context, Decoder
from mdgen.models.checkpoint import load_model, save_model
from mdgen.training.train import PROCEDURES, procedure_of
from tests.models.parts import DECODERS, MOLECULE, contexts, seeded, trained, trained_decoder, trained_encoder


@pytest.fixture(params=DECODERS)
def name(request):
    return request.param


@pytest.fixture
def decoder(name):
    return trained_decoder(name)


LATENT = torch.randn(2, 5, 1, 2, generator=seeded(3))


def test_it_keeps_the_seam_and_offers_one_procedure(decoder):
    assert isinstance(decoder, Decoder)
    assert decoder.learns_from == "frames"
    assert procedure_of(decoder) in PROCEDURES.values()
    assert decoder.latent == trained_encoder("TICA").latent
    assert decoder.molecule == MOLECULE
    assert not decoder.training


def test_every_frame_gets_a_finite_structure_of_molecular_size(decoder):
    positions = decoder.decode(LATENT, Context(), seeded())
    assert positions.shape == (2, 5, MOLECULE.n_atoms, 3)
    assert torch.isfinite(positions).all()
    assert 0.1 < float((positions - positions.mean(2, keepdim=True)).norm(dim=-1).mean()) < 1.0


def test_chance_comes_from_the_generator_alone(name, decoder):
    torch.rand(3)
    first, again, other = (decoder.decode(LATENT, Context(), seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (name == "NearestFrame")


def test_frames_do_not_steer_one_another(decoder):
    changed = LATENT.clone()
    changed[1, 4] += 1.0
    # Nothing is drawn again here: a redraw of one frame moves the random stream of the next.
    decoder.redraws = 0
    made, other = (decoder.decode(latent, Context(), seeded()) for latent in (LATENT, changed))
    torch.testing.assert_close(made[0], other[0])


def test_any_context_will_do(decoder):
    for context in contexts(2).values():
        assert torch.equal(decoder.decode(LATENT, context, seeded()), decoder.decode(LATENT, Context(), seeded()))


def test_a_file_gives_it_back(decoder, tmp_path):
    save_model(tmp_path / "decoder.safetensors", decoder)
    again = load_model(tmp_path / "decoder.safetensors")
    assert type(again) is type(decoder)
    assert again.latent == decoder.latent
    assert again.molecule == MOLECULE
    decoder.redraws = again.redraws = 0
    assert torch.equal(again.decode(LATENT, Context(), seeded()), decoder.decode(LATENT, Context(), seeded()))


def test_training_is_reproducible_and_needs_an_encoder(name, decoder):
    torch.rand(3)
    again = trained(DECODERS[name](decoder.latent), trained_encoder("TICA"))
    for key, value in again.state_dict().items():
        assert torch.equal(value, decoder.state_dict()[key]), key
    with pytest.raises(MdgenError, match="give the encoder"):
        trained(DECODERS[name](decoder.latent))


def test_the_encoder_is_left_as_it_was(name):
    encoder = trained_encoder("SRV")
    trained(DECODERS[name](encoder.latent), encoder)
    assert all(parameter.requires_grad for parameter in encoder.parameters())
