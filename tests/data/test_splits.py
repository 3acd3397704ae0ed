"""The two parts never share a frame, are a gap apart, and have about the size asked for."""

import numpy as np
import pytest
import torch

from mdgen.data.splits import Segment, cut, split, split_by_block, split_by_trajectory
from mdgen.errors import MdgenError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(20))
def test_blocks_are_a_lag_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths, lag = rng.integers(50, 2000, size=int(rng.integers(1, 5))).tolist(), int(rng.integers(1, 5))
    share = float(rng.uniform(0.1, 0.5))
    parts = split_by_block(lengths, share, lag, generator(seed))
    held = sum(map(len, parts.validation))
    assert held == pytest.approx(share * sum(lengths), abs=0.12 * sum(lengths))
    assert sum(map(len, parts.training)) > 0.6 * (sum(lengths) - held)
    for one in parts.training:
        assert 0 <= one.start < one.stop <= lengths[one.trajectory]
        for other in parts.validation:
            if one.trajectory == other.trajectory:
                assert one.start - other.stop >= lag or other.start - one.stop >= lag


@pytest.mark.parametrize("seed", range(20))
def test_trajectories_stay_whole(seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(10, 100, size=15).tolist()
    parts = split_by_trajectory(lengths, 0.3, generator(seed))
    assert sorted(parts.training + parts.validation) == [Segment(k, 0, n) for k, n in enumerate(lengths)]
    assert sum(map(len, parts.validation)) == pytest.approx(0.3 * sum(lengths), abs=55)


def test_by_trajectory_where_there_are_enough() -> None:
    assert all(segment.start == 0 for segment in split([100] * 5, 0.2, 1, generator()).training)
    assert len(split([100] * 5, 0.2, 1, generator()).validation) == 1
    assert len(split([1000], 0.2, 1, generator()).validation) > 0
    assert split([1000], 0.2, 1, generator(3)) == split([1000], 0.2, 1, generator(3))


def test_cut_gives_views() -> None:
    array = np.arange(100)
    (part,) = cut([array], [Segment(0, 10, 20)])
    assert part.base is array
    np.testing.assert_array_equal(part, np.arange(10, 20))


def test_mistakes_are_refused() -> None:
    with pytest.raises(MdgenError, match="too few to split"):
        split_by_block([12], 0.2, 1, generator())
    with pytest.raises(MdgenError, match="one trajectory cannot"):
        split_by_trajectory([100], 0.2, generator())
    for share in (0.0, 1.0, -1.0):
        with pytest.raises(MdgenError, match="above 0 and below 1"):
            split([100] * 9, share, 1, generator())
