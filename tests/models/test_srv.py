import inspect

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.models.batches import PairBatch, TrainingData
from mdgen.models.encoders.srv import SRV
from mdgen.models.encoders.tica import TICA

LAMBDA = (0.9, 0.5)


def autoregression(n_frames=20_000, seed=0):
    """Two independent processes whose exact autocorrelations at lag 1 are LAMBDA, mixed linearly."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(n_frames, 2, generator=generator, dtype=torch.float64)
    decay = torch.tensor(LAMBDA, dtype=torch.float64)
    frames = [noise[0]]
    for kick in noise[1:] * (1 - decay**2).sqrt():
        frames.append(decay * frames[-1] + kick)
    mixed = torch.stack(frames) @ torch.tensor([[1.0, 2.0], [-1.0, 0.5]], dtype=torch.float64) + 3.0
    return PairBatch(mixed.float(), torch.arange(n_frames - 1), torch.arange(1, n_frames))


@pytest.fixture(scope="module")
def pairs():
    return autoregression()


def test_tica_finds_the_exact_eigenvalues_of_linear_processes(pairs):
    tica = TICA(2, lag_ps=1.0, n_modes=2)
    tica.fit(TrainingData(pairs), torch.Generator())
    assert tica.eigenvalues.tolist() == pytest.approx(LAMBDA, abs=0.02)
    expected = -1.0 / torch.log(tica.eigenvalues)
    torch.testing.assert_close(tica.timescales_ps, expected)


def test_loss_never_beats_the_variational_bound_and_descent_approaches_it(pairs):
    torch.manual_seed(0)
    encoder = SRV(2, lag_ps=1.0, n_modes=2, hidden=[20], extra_outputs=0)
    encoder.fit_standardisation(pairs.frames)
    # The square of the slower process is itself a mode, of eigenvalue 0.81: slower than the second process.
    bound = 1 + LAMBDA[0] ** 2 + LAMBDA[0] ** 4
    before = encoder.loss(pairs).total.item()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        encoder.loss(pairs).total.backward()
        optimizer.step()
    after = encoder.loss(pairs).total.item()
    assert after < before
    assert -bound - 0.03 < after < -bound + 0.08


def test_spectrum_fixes_unit_variance_order_sign_and_agrees_with_autocorrelation(pairs):
    torch.manual_seed(1)
    encoder = SRV(2, lag_ps=1.0, n_modes=2, extra_outputs=0)
    encoder.fit_standardisation(pairs.frames)
    encoder.fit_spectrum(pairs)
    modes = encoder.encode_features(pairs.frames).double()
    both = torch.cat([modes[pairs.now], modes[pairs.later]])
    torch.testing.assert_close(both.mean(0), torch.zeros(2).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(both.T @ both / len(both), torch.eye(2).double(), atol=1e-3, rtol=0)
    assert encoder.eigenvalues[0] >= encoder.eigenvalues[1]
    assert ((modes**3).mean(0) >= 0).all()
    forward = (modes[pairs.now] * modes[pairs.later]).mean(0)
    torch.testing.assert_close(forward, encoder.eigenvalues, atol=2e-3, rtol=0)


def test_weighted_distinct_pairs_have_the_loss_of_the_full_list():
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(6, 3, generator=generator)
    states = torch.randint(6, (500,), generator=generator)
    full = PairBatch(values[states], torch.arange(499), torch.arange(1, 500))
    counts = torch.zeros(6, 6).index_put((states[:-1], states[1:]), torch.ones(499), accumulate=True)
    now, later = counts.nonzero().T
    distinct = PairBatch(values, now, later, counts[now, later])
    encoder = SRV(3, lag_ps=1.0, n_modes=2, extra_outputs=0)
    torch.testing.assert_close(encoder.loss(full).total, encoder.loss(distinct).total, atol=1e-6, rtol=0)
    encoder.fit_spectrum(full)
    expected = encoder.eigenvalues.clone()
    encoder.fit_spectrum(distinct)
    torch.testing.assert_close(encoder.eigenvalues, expected, atol=1e-6, rtol=0)


def test_time_reversal_does_not_change_the_loss(pairs):
    encoder = SRV(2, lag_ps=1.0, n_modes=2, extra_outputs=0)
    reverse = PairBatch(pairs.frames, pairs.later, pairs.now)
    torch.testing.assert_close(encoder.loss(pairs).total, encoder.loss(reverse).total, atol=1e-10, rtol=1e-10)


def test_an_anticorrelated_output_is_not_rewarded():
    flipping = torch.tensor([1.0, -1.0]).repeat(50)[:, None] + 1e-3 * torch.randn(
        100, 1, generator=torch.Generator().manual_seed(0)
    )
    batch = PairBatch(flipping, torch.arange(99), torch.arange(1, 100))
    encoder = SRV(1, lag_ps=1.0, n_modes=1, extra_outputs=0)
    assert encoder.loss(batch).total.item() > -0.1


def test_batch_norm_variant_trains_and_encodes_frame_by_frame(pairs):
    encoder = SRV(2, lag_ps=1.0, n_modes=1, batch_norm=True)
    encoder.fit_standardisation(pairs.frames)
    encoder.loss(pairs).total.backward()
    encoder.fit_spectrum(pairs)
    one, many = encoder.encode_features(pairs.frames[:1]), encoder.encode_features(pairs.frames[:50])
    torch.testing.assert_close(one[0], many[0])


def test_mistakes_are_named():
    with pytest.raises(MdgenError, match="lag_ps is -1"):
        SRV(2, lag_ps=-1.0)
    with pytest.raises(MdgenError, match="5 modes"):
        TICA(2, lag_ps=1.0, n_modes=5)
    for wrong in (0, -1, 1.5):
        for encoder in (SRV, TICA):
            # Past the type checks of the tests, which would refuse a float before the encoder does.
            make = inspect.unwrap(encoder.__init__)
            with pytest.raises(MdgenError, match=f"n_modes is {wrong}; it must be a whole number"):
                make(object.__new__(encoder), 2, lag_ps=1.0, n_modes=wrong)
    still = PairBatch(torch.zeros(10, 2), torch.arange(9), torch.arange(1, 10))
    with pytest.raises(MdgenError, match="does not vary"):
        SRV(2, lag_ps=1.0).loss(still)
