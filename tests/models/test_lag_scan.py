"""A lag scan finds the timescales of processes that are known, and the lag from which on they are right."""

import math

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.models.encoders.lag_scan import lag_ladder, scan_lags, spectral_gap
from mdgen.models.encoders.tica import TICA

SLOW, FAST = 200.0, 4.0


def process(timescale: float, n_frames: int, n: int, generator: torch.Generator) -> torch.Tensor:
    """Stationary autoregressions `(trajectory, frame)` of unit variance."""
    decay = math.exp(-1 / timescale)
    frames = [torch.randn(n, generator=generator)]
    for _ in range(n_frames - 1):
        frames.append(decay * frames[-1] + math.sqrt(1 - decay**2) * torch.randn(n, generator=generator))
    return torch.stack(frames, 1)


def trajectories(n: int = 24, n_frames: int = 4000, noise: float = 0.0) -> list[torch.Tensor]:
    """Slow and fast process, mixed; `noise` of a third blurs the slow one at short lags."""
    generator = torch.Generator().manual_seed(0)
    slow, fast = (process(each, n_frames, n, generator) for each in (SLOW, FAST))
    hidden = slow + noise * process(1.0, n_frames, n, generator)
    return list(torch.stack([hidden + fast, hidden - fast, fast], -1))


def test_a_markov_process_needs_no_longer_lag_than_the_spacing() -> None:
    scan = scan_lags(trajectories(), 0.5, torch.Generator().manual_seed(1))
    assert scan.converged
    assert scan.lag_ps == 0.5
    assert scan.n_modes == 1
    assert scan.low_ps[0][0] < SLOW * 0.5 < scan.high_ps[0][0]
    assert scan.low_ps[0][1] < FAST * 0.5 < scan.high_ps[0][1]
    assert "lag 0.5 ps, the shortest" in scan.reason


def test_a_mode_that_is_blurred_by_a_faster_one_needs_a_longer_lag() -> None:
    scan = scan_lags(trajectories(noise=0.1), 1.0, torch.Generator().manual_seed(1))
    first, chosen = scan.timescales_ps[0][0], scan.timescales_ps[scan.lags_ps.index(scan.lag_ps)][0]
    assert scan.converged
    assert first < 0.6 * SLOW  # -1 / ln(exp(-1 / SLOW) / (1 + 0.1^2)) = 67
    assert 5 <= scan.lag_ps <= 100
    assert chosen > 0.75 * SLOW


def test_few_trajectories_are_cut_into_blocks_and_the_draws_come_from_the_generator() -> None:
    tables = trajectories(2)
    scans = [scan_lags(tables, 1.0, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    low = torch.tensor([scan.low_ps for scan in scans])
    assert torch.equal(low[0].nan_to_num(), low[1].nan_to_num())
    assert not torch.equal(low[0].nan_to_num(), low[2].nan_to_num())
    assert [row[0] for row in scans[0].timescales_ps] == [row[0] for row in scans[2].timescales_ps]
    # A twelfth of the data: the interval is wider.
    wide = scans[0].high_ps[0][0] - scans[0].low_ps[0][0]
    narrow = scan_lags(trajectories(), 1.0, torch.Generator().manual_seed(0))
    assert wide > narrow.high_ps[0][0] - narrow.low_ps[0][0]


def test_the_interval_holds_the_true_timescale_as_often_as_it_says() -> None:
    generator, held = torch.Generator().manual_seed(3), 0
    for _ in range(40):
        slow = process(20.0, 500, 24, generator)
        scan = scan_lags(list(slow[..., None]), 1.0, generator)
        held += scan.low_ps[0][0] < 20.0 < scan.high_ps[0][0]
    assert held >= 33  # of 40 at 95 %; 24 trajectories make intervals a little short


def test_resamples_without_a_trajectory_of_the_lag_say_nothing_of_it() -> None:
    long, *short = trajectories(20, 1000)
    scan = scan_lags([long, *(each[:50] for each in short)], 1.0, torch.Generator().manual_seed(0))
    assert scan.lags_ps[-1] == 50
    assert math.isfinite(scan.timescales_ps[-1][0])


def test_features_without_a_slow_mode_are_refused() -> None:
    white = list(torch.randn(5, 1000, 3, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(MdgenError, match="no mode of these features outlives a lag of 1 ps"):
        scan_lags(white, 1.0, torch.Generator().manual_seed(0))


def test_the_spectral_gap() -> None:
    assert spectral_gap(torch.tensor([100.0, 90.0, 80.0, 3.0])) == 3
    assert spectral_gap(torch.tensor([100.0, 10.0, 9.0])) == 1
    assert spectral_gap(torch.tensor([100.0, math.nan, math.nan])) == 1
    assert lag_ladder(11) == [1]


def test_an_encoder_takes_the_lag_and_keeps_it() -> None:
    tica = TICA(3, "auto", n_modes=1)
    assert math.isnan(tica.lag_ps)
    tica.choose_lag(trajectories(6), 1.0, torch.Generator().manual_seed(0))
    assert tica.lag_scan is not None
    assert tica.lag_ps == tica.lag_scan.lag_ps == tica.arguments["lag_ps"]
    given = TICA(3, 7.0, n_modes=1)
    given.choose_lag(trajectories(6), 1.0, torch.Generator())
    assert given.lag_ps == 7.0
    with pytest.raises(MdgenError, match="too few for a lag scan"):
        TICA(3, "auto").choose_lag([torch.zeros(12, 3)], 1.0, torch.Generator())
