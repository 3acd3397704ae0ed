"""Noise that flows start from: the Gauss-Markov process that it says, bound to what is known as Gaussians are."""

import torch

from mdgen.models.blocks.se3_tokens import CHANNELS, COSINES, RIGID, SINES
from mdgen.models.interpolant.gaussian_process import GaussianProcess, bound_noise
from mdgen.models.interpolant.latent_geometry import ResidueGeometry, frame_to_frame
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


def test_each_kind_of_token_has_its_own_process_and_others_that_of_all():
    correlations, means = torch.tensor([0.9, 0.3]), torch.tensor([2.0, -1.0])
    white = torch.randn(400, 100, 2, 1, generator=seeded())
    walks = bound_noise(white, correlations[:, None].expand(400, 2, 1), white, torch.zeros_like(white).bool())[0]
    latents = walks * 3.0 + means[:, None]
    exists = torch.ones_like(latents).bool()
    exists[:200, :, 1] = False  # padding
    kinds = torch.tensor([[4, 2]]).expand(400, 2)
    process = GaussianProcess(6, 1)
    process.fit(latents, exists, kinds, torch.zeros(400), frame_to_frame)
    own = process.mean[[4, 2], 0], process.spread[[4, 2], 0], process.persistence[0, [4, 2], 0]
    for found, expected in zip(own, (means, torch.tensor([3.0, 3.0]), correlations), strict=True):
        torch.testing.assert_close(found, expected, atol=0.06, rtol=0)
    assert abs(process.mean[0, 0] - 1.0) < 0.06  # two thirds of what exists are of the first kind
    assert process.mean[0] == process.mean[5]
    standard = process.standardised(latents, kinds)
    torch.testing.assert_close(process.restored(standard, kinds), latents)
    made = process.draw(white, standard, ~exists, kinds, torch.full((400,), 0.7))[0]
    for token, rho in enumerate(correlations):
        x = made[exists[:, 0, token, 0], :, token, 0]
        assert abs((x[:, 1:] * x[:, :-1]).mean() - rho) < 0.03


def test_wells_of_a_torsion_are_linear_in_its_harmonics():
    angle = torch.linspace(-3.0, 3.0, 50).requires_grad_()
    length = torch.linspace(0.1, 2.0, 50)
    latent = torch.zeros(1, 50, 1, CHANNELS) * angle[0]  # torsions that do not exist have gradients too
    latent[0, :, 0, SINES.start], latent[0, :, 0, COSINES.start] = length * angle.sin(), length * angle.cos()
    found = ResidueGeometry().harmonics(latent)[0, :, 0]
    for n in (1, 2, 3, 4):
        torch.testing.assert_close(found[:, 0, 2 * n - 2], (n * angle).cos(), atol=1e-5, rtol=0)
        torch.testing.assert_close(found[:, 0, 2 * n - 1], (n * angle).sin(), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:, 0, 8], length, atol=1e-5, rtol=0)
    assert (found[:, 1:].abs() < 1e-5).all()
    assert torch.isfinite(torch.autograd.grad(found.sum(), angle)[0]).all()
    along = torch.stack([-angle.sin(), angle.cos()], -1) * (3 * angle).sin()[:, None]  # towards three wells
    assert torch.linalg.lstsq(found[:, 0, :8], along).residuals.sum() < 1e-8
