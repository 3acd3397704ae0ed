import pytest
import torch

from mdgen.generation.decoding_check import DecodingCheck
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import FrameBatch, TrainingData
from mdgen.models.decoders.nearest_frame import NearestFrame
from tests.models.structures import alanine_dipeptide, frames

MOLECULE, POSITIONS = alanine_dipeptide(), frames(800)


class TwoDistances:
    """Encoder: the distances between two pairs of atoms in angstrom."""

    latent = LatentSpace("distances", 1, 2)

    def encode(self, positions, context):
        first, second = ((positions[..., i, :] - positions[..., j, :]).norm(dim=-1) for i, j in ((0, 20), (4, 16)))
        return 10 * torch.stack([first, second], -1)[..., None, :]


class Moved(TwoDistances):
    """Encoder whose first channel is off by a tenth of the spread."""

    def encode(self, positions, context):
        latent = super().encode(positions, context)
        return latent + torch.tensor([0.1 * float(LATENTS[:, 0].std()), 0.0])


LATENTS = TwoDistances().encode(POSITIONS, Context())[:, 0]


def figures(encoder, latent):
    decoder = NearestFrame(TwoDistances.latent, MOLECULE, n_frames=800)
    decoder.fit(TrainingData(FrameBatch(POSITIONS, LATENTS)), torch.Generator().manual_seed(0))
    check = DecodingCheck(encoder, decoder, MOLECULE)
    for block in latent.split(4, dim=1):
        check.add(block, decoder.decode(block, Context(), torch.Generator().manual_seed(0)), Context())
    return check.figures()


def test_copies_have_no_error_and_no_distance():
    found = figures(TwoDistances(), LATENTS.view(100, 8, 1, 2))
    assert found["reencoding_error"] == pytest.approx([0.0, 0.0], abs=1e-3)
    assert found["nearest_library_nm"] == pytest.approx(0.0, abs=1e-4)
    assert found["outside_support_share"] <= 0.01


def test_the_error_is_in_standard_deviations_of_what_was_asked_for():
    found = figures(Moved(), LATENTS.view(100, 8, 1, 2))
    assert found["reencoding_error"] == pytest.approx([0.1, 0.0], abs=2e-3)


def test_latents_that_no_frame_is_near_are_counted():
    away = LATENTS.view(100, 8, 1, 2).clone()
    away[:25] += 50.0
    assert figures(TwoDistances(), away)["outside_support_share"] == pytest.approx(0.25, abs=0.02)


def test_nothing_is_said_of_what_was_not_looked_at():
    check = DecodingCheck(TwoDistances(), NearestFrame(TwoDistances.latent, MOLECULE, 5), MOLECULE)
    assert check.figures() == {}
