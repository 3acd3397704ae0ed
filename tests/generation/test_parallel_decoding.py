import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.generation import parallel_decoding
from mdgen.generation.parallel_decoding import decode_in_parts
from mdgen.generation.stream import block_generator
from mdgen.interfaces import Context, LatentSpace

SPACE = LatentSpace("toy", 1, 3)


class Noisy:
    """Decoder that adds noise to the latent, and notes on how many threads it ran."""

    latent = SPACE

    def __init__(self):
        self.threads = set()

    def decode(self, latent, context, generator):
        assert not torch.is_grad_enabled()
        self.threads.add(torch.get_num_threads())
        return latent + torch.randn(latent.shape, generator=generator)


def stream(part):
    return block_generator(3, 1, "decode", part=part)


LATENT = torch.arange(2 * 50 * 3.0).view(2, 50, 1, 3)


@pytest.fixture
def threads(monkeypatch):
    monkeypatch.setattr(parallel_decoding, "PART_FRAMES", 14)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_frames_do_not_depend_on_the_number_of_threads(threads):
    made = {}
    for number in (1, 3):
        torch.set_num_threads(number)
        decoder = Noisy()
        made[number], last = decode_in_parts(decoder, LATENT, Context(), stream)
        assert last is None
        assert decoder.threads == {1}
        assert torch.get_num_threads() == number
    assert torch.equal(made[1], made[3])
    parts = [part + torch.randn(part.shape, generator=stream(i)) for i, part in enumerate(LATENT.split(7, 1))]
    assert torch.equal(made[1], torch.cat(parts, 1))


class Remembering(Noisy):
    """Decoder whose frames are numbered, on from that before the first."""

    remembers = True

    def choose(self, latent, context, generator, before=None):
        self.seed = generator.initial_seed()
        first = torch.zeros(len(latent), dtype=torch.int64) if before is None else before + 1
        return first[:, None] + torch.arange(latent.shape[1])

    def decode_chosen(self, latent, chosen, context, generator):
        return chosen[..., None, None].expand(latent.shape).to(latent)


def test_what_frames_are_made_from_is_chosen_over_all_parts(threads):
    decoder = Remembering()
    made, last = decode_in_parts(decoder, LATENT, Context(), stream)
    assert torch.equal(made[0, :, 0, 0], torch.arange(50))
    assert last.tolist() == [49, 49]
    assert decoder.seed not in {stream(part).initial_seed() for part in range(len(LATENT.split(7, 1)))}
    again, _ = decode_in_parts(decoder, LATENT, Context(), stream, last)
    assert torch.equal(again[1, :, 0, 0], torch.arange(50, 100))


def test_streams_of_parts_are_independent_and_the_first_is_that_of_the_block():
    assert len({stream(part).initial_seed() for part in range(50)}) == 50
    assert stream(0).initial_seed() == block_generator(3, 1, "decode").initial_seed()


def test_what_a_decoder_raises_is_not_lost(threads):
    class Failing:
        latent = SPACE

        def decode(self, latent, context, generator):
            raise MdgenError("no such latent")

    torch.set_num_threads(2)
    with pytest.raises(MdgenError, match="no such latent"):
        decode_in_parts(Failing(), LATENT, Context(), stream)
    assert torch.get_num_threads() == 2
