import numpy as np
import pytest

from mdgen.evaluation.statistics.intervals import (
    MAXIMUM_UNITS,
    bootstrap_weights,
    centred_interval,
    percentile_interval,
    ratio_interval,
    unit_ids,
)


@pytest.mark.parametrize(("lengths", "units"), [([100], 5), ([50, 50], 6), ([7] * 12, 12), ([3] * 500, MAXIMUM_UNITS)])
def test_units_are_trajectories_or_blocks_and_bounded(lengths: list[int], units: int) -> None:
    ids = unit_ids(lengths)
    assert len(ids) == sum(lengths)
    assert np.all(np.diff(ids) >= 0)
    assert ids.max() + 1 == units
    assert np.bincount(ids).min() > 0


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        values = rng.normal(1.0, 0.5, size=40)
        samples = bootstrap_weights(40, 200, rng) @ values / 40
        held += percentile_interval(values.mean(), samples).contains(1.0)
    assert 0.89 < held / 300 <= 0.99


def test_a_distance_lies_in_its_interval_and_none_passes_zero() -> None:
    samples = np.random.default_rng(1).normal(0.3, 0.1, 1000)
    estimate = centred_interval(0.1, samples)
    assert estimate.low == 0
    assert estimate.high == pytest.approx(0.1 + 1.96 * 0.1, abs=0.02)
    ratio = ratio_interval(10.0, np.exp(samples))
    assert ratio.low < 10 < ratio.high


def test_without_resamples_there_is_no_interval() -> None:
    assert percentile_interval(1.0, np.full(5, np.nan)).low is None
