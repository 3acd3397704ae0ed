"""Noise that flows start from: the Gaussian process that it says, bound to what is known as Gaussians are."""

import pytest
import torch

from mdgen.models.blocks.se3_tokens import CHANNELS, COSINES, SINES, torsion_harmonics
from mdgen.models.interpolant.gaussian_process import (
    GaussianProcess,
    Kernel,
    autocorrelations,
    bound_noise,
    fitted_kernel,
    gaussian_correlations,
    lags_of,
)
from tests.models.parts import seeded

KERNEL = Kernel(
    torch.tensor([0.0, 1.0, 0.3, 0.6]), torch.tensor([0.9, 0.95, 0.97, 0.8]), torch.tensor([0, 0.5, 0.4, 0])
)
FRAMES, DRAWS = 9, 20_000


def correlation(kernel, lag):
    return kernel.share * kernel.slow**lag + (1 - kernel.share) * kernel.fast**lag


def covariance(channel):
    """Of the process, by its definition."""
    frame = torch.arange(FRAMES)
    return correlation(Kernel(*(each[channel] for each in KERNEL)), (frame[:, None] - frame).abs())


def drawn(known, values):
    shape = (DRAWS, FRAMES, 1, 4)
    white = torch.randn(shape, generator=seeded())
    kernel = Kernel(*(each.expand(DRAWS, 1, -1) for each in KERNEL))
    return bound_noise(white, kernel, values.expand(shape), known[:, None, None].expand(shape))


def walks(kernel, shape, seed=0):
    """Free draws of a process that is the same for all tokens and channels."""
    white = torch.randn(shape, generator=seeded(seed))
    kernel = Kernel(*(each.expand(shape[0], *shape[2:]) for each in kernel))
    return bound_noise(white, kernel, white, torch.zeros(shape, dtype=torch.bool))[0]


def test_where_nothing_is_known_it_is_stationary():
    made, mean = drawn(torch.zeros(FRAMES, dtype=torch.bool), torch.full((FRAMES, 1, 4), 7.0))
    assert (mean == 0).all()
    for channel in range(4):
        x = made[:, :, 0, channel]
        torch.testing.assert_close(x.T @ x / DRAWS, covariance(channel), atol=0.03, rtol=0)


@pytest.mark.parametrize("places", [[0], [1, 5], [0, 1, 2, 8], [3, 4, 6]])
def test_known_frames_bind_it_as_they_bind_a_gaussian(places):
    known = torch.zeros(FRAMES, dtype=torch.bool)
    known[places] = True
    values = torch.randn(FRAMES, 1, 4, generator=seeded(1))
    made, mean = drawn(known, values)
    for channel in range(4):
        whole, given = covariance(channel), values[known, 0, channel]
        gain = whole[:, known] @ torch.linalg.inv(whole[known][:, known])
        x = made[:, :, 0, channel]
        assert torch.equal(x[:, known], given.expand(DRAWS, -1))
        torch.testing.assert_close(mean[0, :, 0, channel], gain @ given, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(x.mean(0), gain @ given, atol=0.03, rtol=0)
        torch.testing.assert_close(x.T.cov(), whole - gain @ whole[known], atol=0.03, rtol=0)


def test_channels_and_rows_may_know_different_frames():
    known = torch.rand(DRAWS, FRAMES, 1, 4, generator=seeded(3)) < 0.4
    values = torch.randn(known.shape, generator=seeded(1))
    kernel = Kernel(*(each.expand(DRAWS, 1, -1) for each in KERNEL))
    made, mean = bound_noise(torch.randn(known.shape, generator=seeded()), kernel, values, known)
    assert torch.equal(made[known], values[known])
    for row in range(5):
        for channel in range(4):
            whole, here = covariance(channel), known[row, :, 0, channel]
            gain = whole[:, here] @ torch.linalg.inv(whole[here][:, here])
            expected = gain @ values[row, here, 0, channel]
            torch.testing.assert_close(mean[row, :, 0, channel], expected, atol=1e-4, rtol=1e-3)


def test_frames_side_by_side_and_whole_trajectories_may_be_known():
    known = torch.ones(FRAMES, dtype=torch.bool)
    values = torch.randn(FRAMES, 1, 4, generator=seeded(1))
    made, mean = drawn(known, values)
    assert torch.equal(made[0], values)
    assert torch.equal(mean[0], values)
    known[6:] = False
    assert torch.isfinite(drawn(known, values)[0]).all()


@pytest.mark.parametrize("rare", [0.5, 0.1])
def test_noise_turned_into_the_distribution_of_the_data_has_their_correlations(rare):
    n_rows, n_frames, stay = 400, 200, 0.9
    uniform = torch.rand(n_rows, n_frames, generator=seeded())
    state = uniform[:, 0] < rare
    states = [state]
    for draw in uniform[:, 1:].unbind(1):  # correlation `stay` from frame to frame
        state = torch.where(draw < stay, state, (draw - stay) / (1 - stay) < rare)
        states.append(state)
    wells = torch.stack(states, 1) + 0.3 * torch.randn(n_rows, n_frames, generator=seeded(2))
    standard = ((wells - wells.mean()) / wells.std())[..., None, None]
    kernel = fitted_kernel(gaussian_correlations(standard), lags_of(n_frames))
    made = walks(Kernel(*(each.float() for each in kernel)), (n_rows, n_frames, 1, 1), 1).flatten()
    turned = torch.empty_like(made)  # of the data's distribution, in the order of the noise
    turned[made.argsort()] = standard.flatten().sort().values
    found, expected = autocorrelations(turned.view_as(standard)), autocorrelations(standard)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)
    # one that has the correlations of the data itself forgets too soon
    naive = walks(Kernel(expected[0], torch.tensor([stay]), torch.zeros(1)), (n_rows, n_frames, 1, 1), 1).flatten()
    turned[naive.argsort()] = standard.flatten().sort().values
    assert (autocorrelations(turned.view_as(standard)) < expected - 0.05)[:2].all()


def test_correlations_of_gaussians_are_their_own():
    x = walks(Kernel(*(each[2] for each in KERNEL)), (1000, 100, 1, 1))
    lags = torch.tensor(lags_of(100))
    expected = correlation(Kernel(*(each[2] for each in KERNEL)), lags)[:, None]
    torch.testing.assert_close(gaussian_correlations(x).float(), expected, atol=0.03, rtol=0)


def test_kernels_are_found_from_their_correlations():
    lags = lags_of(100)
    exact = correlation(KERNEL, torch.tensor(lags)[:, None])
    found = fitted_kernel(exact, lags)
    torch.testing.assert_close(correlation(found, torch.tensor(lags)[:, None]).float(), exact, atol=0.02, rtol=0)


def test_each_kind_of_token_has_its_own_process_and_others_that_of_all():
    rates, means = torch.tensor([0.9, 0.3]), torch.tensor([2.0, -1.0])
    each = [walks(Kernel(torch.ones(()), rate, torch.zeros(())), (400, 100, 1, 1), 5) for rate in rates]
    latents = torch.cat(each, 2) * 3.0 + means[:, None]
    exists = torch.ones_like(latents).bool()
    exists[:200, :, 1] = False  # padding
    kinds = torch.tensor([[4, 2]]).expand(400, 2)
    process = GaussianProcess(6, 1)
    process.fit(latents, exists, kinds, torch.zeros(400))
    found = correlation(Kernel(*process.kernels[:, 0, [4, 2], 0]), 1)
    for measured, expected in zip(
        (process.mean[[4, 2], 0], process.spread[[4, 2], 0], found),
        (means, torch.tensor([3.0, 3.0]), rates),
        strict=True,
    ):
        torch.testing.assert_close(measured, expected, atol=0.06, rtol=0)
    assert abs(process.mean[0, 0] - 1.0) < 0.06  # two thirds of what exists are of the first kind
    assert process.mean[0] == process.mean[5]
    standard = process.standardised(latents, kinds)
    torch.testing.assert_close(process.restored(standard, kinds), latents)
    white = torch.randn(latents.shape, generator=seeded(2))
    made = process.draw(white, standard, ~exists, kinds, torch.full((400,), 0.7))[0]
    for token, rho in enumerate(rates):
        x = made[exists[:, 0, token, 0], :, token, 0]
        assert abs((x[:, 1:] * x[:, :-1]).mean() - rho) < 0.03


def test_kernels_of_other_spacings_lie_between_those_measured():
    rates = torch.tensor([0.9, 0.3])
    latents = torch.cat([walks(Kernel(torch.ones(()), rate, torch.zeros(())), (400, 100, 1, 1), 5) for rate in rates])
    places, kinds = torch.tensor([0.0, 1.0]).repeat_interleave(400), torch.zeros(800, 1, dtype=torch.long)
    process = GaussianProcess(1, 1)
    process.fit(latents, torch.ones_like(latents).bool(), kinds, places)
    white, free = torch.randn(latents.shape, generator=seeded(2)), torch.zeros_like(latents).bool()
    for place, expected in ((0.0, 0.9), (1.0, 0.3), (0.5, 0.6)):
        made = process.draw(white, white, free, kinds, torch.full((800,), place))[0]
        assert abs((made[:, 1:] * made[:, :-1]).mean() - expected) < 0.05


def test_channels_that_only_some_tokens_have_are_measured_where_they_exist():
    rate = torch.tensor(0.7)
    latents = walks(Kernel(torch.ones(()), rate, torch.zeros(())), (1000, 48, 1, 2))
    exists = torch.ones_like(latents).bool()
    exists[200:, :, :, 1] = False
    process = GaussianProcess(1, 2)
    process.fit(latents * exists, exists, torch.zeros(1000, 1, dtype=torch.long), torch.zeros(1000))
    found = correlation(Kernel(*process.kernels[:, 0, 0]), torch.tensor([1, 2, 3])[:, None])
    torch.testing.assert_close(found, (rate ** torch.tensor([1, 2, 3]))[:, None].expand(-1, 2), atol=0.04, rtol=0)


def test_still_channels_and_windows_of_two_frames_have_kernels():
    latents = torch.randn(500, 2, 1, 3, generator=seeded())
    latents[..., 1] = 4.0
    exists = torch.ones_like(latents).bool()
    exists[..., 2] = False
    process, kinds = GaussianProcess(1, 3), torch.zeros(500, 1, dtype=torch.long)
    process.fit(latents * exists, exists, kinds, torch.zeros(500))
    made, expected = process.draw(latents, latents, ~exists, kinds, torch.zeros(500))
    assert torch.isfinite(process.kernels).all()
    assert torch.isfinite(made).all()
    assert torch.isfinite(expected).all()


def test_wells_of_a_torsion_are_linear_in_its_harmonics():
    angle = torch.linspace(-3.0, 3.0, 50).requires_grad_()
    length = torch.linspace(0.1, 2.0, 50)
    latent = torch.zeros(1, 50, 1, CHANNELS) * angle[0]  # torsions that do not exist have gradients too
    latent[0, :, 0, SINES.start], latent[0, :, 0, COSINES.start] = length * angle.sin(), length * angle.cos()
    found = torsion_harmonics(latent)[0, :, 0]
    for n in (1, 2, 3, 4):
        torch.testing.assert_close(found[:, 0, 2 * n - 2], (n * angle).cos(), atol=1e-5, rtol=0)
        torch.testing.assert_close(found[:, 0, 2 * n - 1], (n * angle).sin(), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:, 0, 8], length, atol=1e-5, rtol=0)
    assert (found[:, 1:].abs() < 1e-5).all()
    assert torch.isfinite(torch.autograd.grad(found.sum(), angle)[0]).all()
    along = torch.stack([-angle.sin(), angle.cos()], -1) * (3 * angle).sin()[:, None]  # towards three wells
    assert torch.linalg.lstsq(found[:, 0, :8], along).residuals.sum() < 1e-8
