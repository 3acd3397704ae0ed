"""Every pair is one lag apart within one trajectory, and each stands once."""

import logging

import numpy as np
import pytest
import torch

from mdgen.data.spacing import lag_in_frames, pair_starts
from mdgen.errors import MdgenError


def labelled(lengths: list[int]) -> list[torch.Tensor]:
    """Frames that say which trajectory and time they are."""
    return [torch.tensor([[float(k), float(t)] for t in range(n)]).reshape(n, 2) for k, n in enumerate(lengths)]


@pytest.mark.parametrize("seed", range(8))
def test_exactly_the_pairs_of_each_trajectory(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(seed)
    lengths, lag = [*rng.integers(0, 30, size=6).tolist(), 40], int(rng.integers(1, 15))
    with caplog.at_level(logging.ERROR):
        first = pair_starts(lengths, lag)
    expected = {(k, t) for k, n in enumerate(lengths) for t in range(n - lag)}
    assert len(first) == len(expected)
    frames = torch.cat(labelled(lengths))
    now, later = frames[first], frames[first + lag]
    torch.testing.assert_close(later - now, torch.tensor([[0.0, lag]]).expand(len(now), 2))
    assert {tuple(int(x) for x in row) for row in now.tolist()} == expected


def test_a_trajectory_shorter_than_the_lag() -> None:
    with pytest.raises(MdgenError, match="the longest trajectory has 5 frames, and the lag is 5"):
        pair_starts([5], 5)
    with pytest.raises(MdgenError, match="at least 1"):
        pair_starts([5], 0)


def test_lag_in_frames() -> None:
    assert lag_in_frames(100.0, 100.0) == 1
    assert lag_in_frames(0.3, 0.1) == 3
    assert lag_in_frames(1e6, 0.2) == 5_000_000
    for lag, match in [
        (0.25, "choose 0.2 or 0.3 ps"),
        (0.05, "choose 0.1 ps"),
        (-1.0, "no multiple"),
        (0.0, "no m"),
    ]:
        with pytest.raises(MdgenError, match=match):
            lag_in_frames(lag, 0.1)
