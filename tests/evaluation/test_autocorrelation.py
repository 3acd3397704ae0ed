import numpy as np
import pytest
from scipy.signal import lfilter

from mdgen.evaluation.metrics.decorrelation import DecorrelationMetrics
from mdgen.evaluation.metrics.target import Target
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.autocorrelation import (
    autocorrelation,
    decorrelation_time,
    dynamical_content,
    lagged_products,
    logarithmic_lags,
)
from mdgen.evaluation.statistics.block_permutation import permute_blocks
from mdgen.evaluation.statistics.observables import Observables
from mdgen.molecule.torsions import Torsion

TORSIONS = (Torsion("phi ALA2", 1, (0, 1, 2, 3), "backbone"),)


def angles_of_an_ar1_process(timescale: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """A narrow Gaussian AR(1) process: its sine and cosine decay as it does, but for higher orders."""
    decay, values = np.exp(-1 / timescale), np.empty(n)
    values[0], noise = rng.normal(), rng.normal(size=n) * np.sqrt(1 - decay**2)
    for i in range(1, n):
        values[i] = decay * values[i - 1] + noise[i]
    return 0.1 * values


def correlation_of(angles: list[np.ndarray], lags: np.ndarray) -> np.ndarray:
    signal = np.exp(1j * np.concatenate(angles))
    trajectory = np.repeat(np.arange(len(angles)), [len(a) for a in angles])
    sums, counts = lagged_products(signal, trajectory, trajectory, lags)
    return autocorrelation(sums.sum(0), counts.sum(0), np.asarray(signal.mean()))


@pytest.mark.parametrize("timescale", [3.0, 30.0])
def test_the_decorrelation_time_of_an_ar1_process(timescale: float) -> None:
    rng = np.random.default_rng(0)
    angles = [angles_of_an_ar1_process(timescale, 20_000, rng) for _ in range(4)]
    lags = logarithmic_lags(500)
    correlation = correlation_of(angles, lags)
    exact = np.exp(-lags / timescale)
    # standard error of an autocorrelation: sqrt(2 t / n)
    assert np.abs(correlation - exact).max() < 5 * np.sqrt(2 * timescale / 80_000)
    assert decorrelation_time(correlation, lags.astype(float)) == pytest.approx(timescale, rel=0.12)


def test_an_exact_exponential_gives_its_time_and_a_flat_line_none() -> None:
    lags = logarithmic_lags(1000).astype(float)
    both = np.stack([np.exp(-lags / 17.3), np.ones_like(lags)])
    assert decorrelation_time(both, lags)[0] == pytest.approx(17.3, rel=1e-6)
    assert np.isnan(decorrelation_time(both, lags)[1])


def test_pairs_never_cross_a_trajectory_and_an_angle_that_rests_has_no_correlation() -> None:
    signal = np.exp(1j * np.array([0.0, 0.0, np.pi, np.pi]))
    trajectory = np.array([0, 0, 1, 1])
    sums, counts = lagged_products(signal, trajectory, trajectory, np.array([1, 2]))
    np.testing.assert_allclose(sums.sum(0), [2, 0])
    np.testing.assert_array_equal(counts.sum(0), [2, 0])
    resting = autocorrelation(np.array([2.0]), np.array([2.0]), np.asarray(1 + 0j))
    assert np.isnan(resting).all()


def test_the_dynamical_content_integrates_to_the_whole_loss() -> None:
    lags = np.geomspace(1e-2, 1e3, 400)
    content = dynamical_content(np.exp(-lags / 5), lags)
    assert np.trapezoid(content, np.log(lags)) == pytest.approx(1, abs=0.01)
    assert lags[content.argmax()] == pytest.approx(5, rel=0.05)


def test_frames_out_of_order_within_five_show_in_the_relaxation_at_short_lags() -> None:
    rng = np.random.default_rng(7)

    def row(shuffle: bool) -> Observables:
        angles = np.stack([angles_of_an_ar1_process(10.0, 5000, rng) for _ in range(6)]).reshape(6, -1, 5)
        angles = rng.permuted(angles, axis=2) if shuffle else angles
        return Observables((5000,) * 6, 1.0, {"torsions": angles.reshape(-1, 1).astype(np.float32)})

    metrics = DecorrelationMetrics(Target(row(False), Settings(resamples=50), TORSIONS))
    good, mixed = metrics(row(False)), metrics(row(True))
    name = "relaxation_log10_error/phi ALA2"
    # Neighbours are 2.6 frames apart on average where frames are shuffled within five
    assert good[name].value < 0.07
    assert mixed[name].value > 0.12
    blocks = permute_blocks(metrics.target.data, row(False), 15_000, rng)
    assert blocks is not None
    assert mixed[name].value > metrics.permuted(blocks)[name].max()


@pytest.mark.parametrize(("number", "frames"), [(2, 3000), (8, 1000)])
def test_intervals_of_decorrelation_times_cover(number: int, frames: int) -> None:
    """Of 150 rows 95 % hold the exact time; three standard errors of that share are 0.053."""
    rng, decay = np.random.default_rng(9), np.exp(-1 / 10.0)
    noise = np.sqrt(1 - decay**2) * rng.normal(size=(150, number, frames))
    noise[..., 0] = rng.normal(size=(150, number))
    angles = 0.1 * lfilter([1.0], [1.0, -decay], noise).astype(np.float32)
    rows = [Observables((frames,) * number, 1.0, {"torsions": each.reshape(-1, 1)}) for each in angles]
    metrics = DecorrelationMetrics(Target(rows[0], Settings(resamples=2), TORSIONS))
    held = [metrics.own_times(row)["decorrelation_ps/phi ALA2"].contains(10.0) for row in rows]
    assert np.mean(held) == pytest.approx(0.95, abs=0.053)


def test_lags_that_one_trajectory_alone_reaches_leave_intervals_finite() -> None:
    rng, decay = np.random.default_rng(3), np.exp(-1 / 100.0)
    lengths = (20_000, *(60,) * 300)
    angles = [lfilter([1.0], [1.0, -decay], np.sqrt(1 - decay**2) * rng.normal(size=n)) for n in lengths]
    row = Observables(lengths, 1.0, {"torsions": 0.1 * np.concatenate(angles).astype(np.float32)[:, None]})
    metrics = DecorrelationMetrics(Target(row, Settings(resamples=2), TORSIONS))
    found = metrics.own_times(row)["decorrelation_ps/phi ALA2"]
    assert 0 < found.low < found.value < found.high
