"""Noise that flows start from: the Gauss-Markov process that it says, bound to what is known as Gaussians are."""

import torch

from mdgen.models.blocks.se3_tokens import CHANNELS, RIGID, SINES
from mdgen.models.interpolant.gaussian_process import bound_noise
from mdgen.models.interpolant.latent_geometry import ResidueGeometry
from tests.models.parts import seeded

PERSISTENCE = torch.tensor([0.0, 0.5, 0.95])
FRAMES, DRAWS = 9, 20_000


def covariance(rho):
    """Of the process: rho to the power of the time between."""
    frame = torch.arange(FRAMES)
    return rho ** (frame[:, None] - frame).abs()


def drawn(known, values):
    shape = (DRAWS, FRAMES, 1, 3)
    white = torch.randn(shape, generator=seeded())
    persistence = PERSISTENCE.expand(DRAWS, 1, -1)
    return bound_noise(white, persistence, values.expand(shape), known[:, None, None].expand(shape))


def test_where_nothing_is_known_it_is_stationary():
    made, mean = drawn(torch.zeros(FRAMES, dtype=torch.bool), torch.full((FRAMES, 1, 3), 7.0))
    assert (mean == 0).all()
    for channel, rho in enumerate(PERSISTENCE):
        x = made[:, :, 0, channel]
        torch.testing.assert_close(x.T @ x / DRAWS, covariance(rho), atol=0.03, rtol=0)


def test_known_frames_bind_it_as_they_bind_a_gaussian():
    known = torch.zeros(FRAMES, dtype=torch.bool)
    known[[1, 5]] = True
    values = torch.randn(FRAMES, 1, 3, generator=seeded(1))
    made, mean = drawn(known, values)
    for channel, rho in enumerate(PERSISTENCE):
        whole, given = covariance(rho), values[known, 0, channel]
        gain = whole[:, known] @ torch.linalg.inv(whole[known][:, known])
        x = made[:, :, 0, channel]
        assert torch.equal(x[:, known], given.expand(DRAWS, -1))
        torch.testing.assert_close(mean[0, :, 0, channel], gain @ given, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(x.mean(0), gain @ given, atol=0.03, rtol=0)
        torch.testing.assert_close(x.T.cov(), whole - gain @ whole[known], atol=0.03, rtol=0)


def test_frames_side_by_side_and_whole_trajectories_may_be_known():
    known = torch.ones(FRAMES, dtype=torch.bool)
    values = torch.randn(FRAMES, 1, 3, generator=seeded(1))
    made, mean = drawn(known, values)
    assert torch.equal(made[0], values)
    assert torch.equal(mean[0], values)
    known[6:] = False
    assert torch.isfinite(drawn(known, values)[0]).all()


def test_states_cut_out_of_the_noise_of_tokens_have_the_correlation_of_the_data():
    geometry = ResidueGeometry()
    stays = torch.rand(200, 200, generator=seeded()) < 0.8
    states = torch.where((~stays).cumsum(1) % 2 == 0, 1.0, -1.0)  # correlation 0.6 from frame to frame
    latent = torch.zeros(200, 200, 1, CHANNELS)
    latent[..., 0, SINES.start], latent[..., 0, 1] = states, states
    found = geometry.persistence(latent)
    assert (found[:RIGID] == found[1]).all()  # one motion
    white = torch.randn(latent.shape, generator=seeded(1))
    made = bound_noise(white, found.expand(200, 1, -1), latent, torch.zeros_like(latent, dtype=torch.bool))[0]
    signs = made[..., 0, SINES.start].sign()
    assert abs((signs[:, 1:] * signs[:, :-1]).mean() - 0.6) < 0.02
