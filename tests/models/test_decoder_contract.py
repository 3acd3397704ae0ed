"""What every decoder must do."""

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import Decoder
from mdgen.models.checkpoint import load_model, save_model
from mdgen.training.train import PROCEDURES, procedure_of
from tests.models.parts import (
    DECODERS,
    MOLECULE,
    WITH_KEY_FRAMES,
    contexts,
    least_context,
    seeded,
    trained,
    trained_decoder,
    trained_encoder,
)
from tests.models.structures import frames


@pytest.fixture(params=DECODERS)
def name(request):
    return request.param


@pytest.fixture
def decoder(name):
    return trained_decoder(name)


@pytest.fixture
def context(name):
    return least_context(name, 2)


@pytest.fixture
def latent(name, context):
    if name in WITH_KEY_FRAMES:
        return trained_encoder("SE3TokenEncoder").encode(frames(10, seed=3).unflatten(0, (2, 5)), context)
    return torch.randn(2, 5, 1, 2, generator=seeded(3))


def test_it_keeps_the_seam_and_offers_one_procedure(name, decoder):
    assert isinstance(decoder, Decoder)
    assert decoder.learns_from in ("frames", "nothing")
    assert procedure_of(decoder) in PROCEDURES.values()
    of_tokens = name in WITH_KEY_FRAMES
    assert decoder.latent == trained_encoder("SE3TokenEncoder" if of_tokens else "TICA").latent
    assert of_tokens or decoder.molecule == MOLECULE
    assert not decoder.training
    assert getattr(decoder, "remembers", False) == name.endswith("with memory")


def test_every_frame_gets_a_finite_structure_of_molecular_size(decoder, latent, context):
    positions = decoder.decode(latent, context, seeded())
    assert positions.shape == (2, 5, MOLECULE.n_atoms, 3)
    assert torch.isfinite(positions).all()
    assert 0.1 < float((positions - positions.mean(2, keepdim=True)).norm(dim=-1).mean()) < 1.0


def test_chance_comes_from_the_generator_alone(name, decoder, latent, context):
    torch.rand(3)
    first, again, other = (decoder.decode(latent, context, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (name in ("NearestFrame", *WITH_KEY_FRAMES))


def test_frames_do_not_steer_one_another(decoder, latent, context):
    changed = latent.clone()
    changed[1, 4] += 1.0
    # Nothing is drawn again here: a redraw of one frame moves the random stream of the next.
    decoder.redraws = 0
    made, other = (decoder.decode(each, context, seeded()) for each in (latent, changed))
    torch.testing.assert_close(made[0], other[0])


def test_any_context_will_do(name, decoder, latent, context):
    if name in WITH_KEY_FRAMES:
        pytest.skip("it needs a key frame")
    for said in contexts(2).values():
        assert torch.equal(decoder.decode(latent, said, seeded()), decoder.decode(latent, context, seeded()))


def test_a_file_gives_it_back(name, decoder, latent, context, tmp_path):
    save_model(tmp_path / "decoder.safetensors", decoder)
    again = load_model(tmp_path / "decoder.safetensors")
    assert type(again) is type(decoder)
    assert again.latent == decoder.latent
    assert name in WITH_KEY_FRAMES or again.molecule == MOLECULE
    decoder.redraws = again.redraws = 0
    assert torch.equal(again.decode(latent, context, seeded()), decoder.decode(latent, context, seeded()))


def test_training_is_reproducible_and_needs_an_encoder(name, decoder):
    if name in WITH_KEY_FRAMES:
        pytest.skip("it learns nothing")
    torch.rand(3)
    again = trained(DECODERS[name](decoder.latent), trained_encoder("TICA"))
    for key, value in again.state_dict().items():
        assert torch.equal(value, decoder.state_dict()[key]), key
    with pytest.raises(MdgenError, match="give the encoder"):
        trained(DECODERS[name](decoder.latent))


def test_the_encoder_is_left_as_it_was(name):
    if name in WITH_KEY_FRAMES:
        pytest.skip("it learns nothing")
    encoder = trained_encoder("SRV")
    trained(DECODERS[name](encoder.latent), encoder)
    assert all(parameter.requires_grad for parameter in encoder.parameters())
